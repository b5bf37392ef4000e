"""The live panel by keyboard: start, pause, step, steer, reset, and a page that stays free all the while."""


def test_start_pause_step_reset(panel):
    first, said = panel.src, panel.sentence
    panel.press("Start")
    panel.training(least=2)
    panel.await_picture(other_than=first)
    panel.press("Pause")
    rested = panel.resting()
    for step in (1, 2):
        before = panel.src
        panel.press("Step")
        assert panel.resting(least=rested + step) == rested + step
        assert panel.src != before
    panel.press("Start")
    panel.training(least=rested + 3)
    panel.press("Reset")
    panel.ready()
    assert panel.sentence == said and panel.src == first and panel.alerts() == []


def test_rates_can_be_changed_in_mid_training(panel):
    names, defaults = [handle.name for handle in panel.controls()], panel.values
    assert any("learning rate" in name for name in names) and any("mixing rate" in name for name in names)
    panel.press("Start")
    done = panel.training(least=1)
    for handle in panel.controls():
        at = handle.value
        handle.node.focus()
        panel.page.keyboard.press("ArrowRight")
        assert handle.value != at, handle.name
        done = panel.training(least=done + 1)
    panel.press("Pause")
    panel.resting(least=done)
    assert panel.alerts() == []
    panel.press("Reset")
    panel.ready()
    assert panel.values == defaults


def test_another_cell_answers_while_it_trains(lesson, panel):
    panel.press("Start")
    panel.training(least=1)
    cell = lesson.new_cell("print('six', 7 * 6)")
    lesson.page.keyboard.press("Control+Enter")
    cell.get_by_text("six 42").wait_for()
    done = panel.training()  # not paused, not done: the answer did not wait for the end
    panel.training(least=done + 1)
