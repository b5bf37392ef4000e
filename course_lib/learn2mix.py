"""learn2mix: after every round the class-wise losses choose the class mix of the next one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.inputs import as_number, as_prior, as_shares, as_tensor


class Learn2Mix:
    """Keeps the class mix and moves it towards the normalised class-wise losses.

    prior        (K,) class shares of the training part: where the mix starts
    mixing_rate  in [0, 1], the step: mix <- mix + mixing_rate * (loss / sum(loss) - mix); 0 is plain training bit for
                 bit, 1 follows the losses of the last round alone
    floor        in [0, 1/K], K counting classes with examples: the smallest share of one of these (0 in the paper)
    smoothing    in [0, 1): the loss that is followed is smoothing * old + (1 - smoothing) * new (0 in the paper)

    A class without training examples (prior 0) keeps share 0 for good. Everything is float64 inside.
    Source: Venkatasubramanian & Tarokh, arXiv:2412.16482, Algorithm 1. `floor` and `smoothing` are ours.
    """

    def __init__(
        self,
        prior: Tensor | Sequence[float],
        mixing_rate: float = 0.1,
        *,
        floor: float = 0.0,
        smoothing: float = 0.0,
    ) -> None:
        prior = as_prior(prior)
        self._present = prior > 0
        self.mixing_rate = mixing_rate
        self.floor = as_number(floor, "floor", 0, 1 / int(self._present.sum()))
        self.smoothing = as_number(smoothing, "smoothing", 0, 1, below=True)
        self._mix = prior.clone()
        self._loss = torch.full_like(prior, torch.nan)  # latest loss of each class; NaN: not seen yet

    @property
    def mix(self) -> Tensor:
        """The present mix, (K,) float64; a copy."""
        return self._mix.clone()

    @property
    def mixing_rate(self) -> float:
        return self._mixing_rate

    @mixing_rate.setter
    def mixing_rate(self, rate: float) -> None:
        self._mixing_rate = as_number(rate, "mixing_rate", 0, 1)

    def update(
        self, class_loss: Tensor | Sequence[float], class_count: Tensor | Sequence[int] | None = None
    ) -> Tensor:
        """The next mix, (K,) float64.

        class_loss   (K,) mean loss of each class over the round; ignored (so NaN is welcome) where its count is 0
        class_count  (K,) examples of each class that the round met; None: every class was met

        A class that the round did not meet keeps its latest loss; before any, it takes the mean of those seen. If all
        losses are 0 the mix stays. Raises ValueError, changing nothing, for a loss that is NaN, infinite or negative
        where the count is positive, and for a wrong shape.
        """
        loss = as_tensor(class_loss, "class_loss").detach().cpu().double()
        if loss.shape != self._mix.shape:
            raise ValueError(f"class_loss must have shape {tuple(self._mix.shape)}, got {tuple(loss.shape)}")
        met = self._present
        if class_count is not None:
            count = as_tensor(class_count, "class_count").detach().cpu()
            if count.shape != self._mix.shape:
                raise ValueError(
                    f"class_count must have shape {tuple(self._mix.shape)}, got {tuple(count.shape)}"
                )
            if not (count >= 0).all():
                raise ValueError(f"class_count must be >= 0, got {count.tolist()}")
            met = met & (count > 0)
        wrong = met & ~(torch.isfinite(loss) & (loss >= 0))
        if wrong.any():
            raise ValueError(
                f"class_loss must be finite and >= 0 where a class was met, got {loss[wrong].tolist()} "
                f"for class {wrong.nonzero().flatten().tolist()}"
            )
        known = ~self._loss.isnan()
        followed = torch.where(known, self.smoothing * self._loss + (1 - self.smoothing) * loss, loss)
        self._loss = torch.where(met, followed, self._loss)

        # What cannot be known yet is taken as average, so it neither gains nor loses.
        latest = torch.where(self._loss.isnan(), self._loss.nanmean().nan_to_num(), self._loss)
        latest = torch.where(self._present, latest, torch.zeros_like(latest))
        largest = latest.max()
        if largest > 0 and self.mixing_rate > 0:
            latest = latest / largest  # a sum of huge losses must not overflow
            mix = self._mix + self.mixing_rate * (latest / latest.sum() - self._mix)
            self._mix = self._with_floor(mix / mix.sum())
        return self.mix

    def _with_floor(self, mix: Tensor) -> Tensor:
        """Lift shares below the floor to it and shrink what the others have above it, in proportion."""
        if self.floor == 0:
            return mix
        above = torch.where(self._present, (mix - self.floor).clamp_min(0), torch.zeros_like(mix))
        room = 1 - self.floor * int(self._present.sum())
        spread = above / above.sum() * room if above.sum() > 0 else torch.zeros_like(mix)
        return torch.where(self._present, self.floor + spread, torch.zeros_like(mix))

    def state_dict(self) -> dict:
        """What `load_state_dict` needs to continue the same path."""
        return {"mix": self.mix, "loss": self._loss.clone(), "mixing_rate": self.mixing_rate}

    def load_state_dict(self, state: dict) -> None:
        """Continue where `state_dict` was taken; raises ValueError, changing nothing, for another number of classes."""
        mix, loss = as_shares(state["mix"]), state["loss"]
        if not mix.shape == loss.shape == self._mix.shape:
            raise ValueError(
                f"state must describe {len(self._mix)} classes, got mix {tuple(mix.shape)} and loss {tuple(loss.shape)}"
            )
        self.mixing_rate = state["mixing_rate"]  # raises before anything is changed
        self._mix, self._loss = mix, loss.clone()
