"""models: shapes, parameter counts and what is refused."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.models import MLP, Autoencoder, LeNet5


@pytest.mark.parametrize("sizes", [(2, 2), (20, 1), (4, 8, 3), (5, 7, 7, 100)])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_mlp_maps_inputs_to_raw_scores(sizes, norm):
    model = MLP(sizes, norm=norm, dropout=0.1)
    assert model(torch.randn(6, sizes[0])).shape == (6, sizes[-1])


def test_mlp_flattens_what_is_behind_the_first_axis():
    x = torch.randn(3, 1, 8, 8)
    model = MLP((64, 5, 10))
    assert torch.equal(model(x), model(x.flatten(1)))


def test_mlp_without_hidden_layers_is_linear():
    model = MLP((4, 2))
    (layer,) = [module for module in model if isinstance(module, nn.Linear)]
    x = torch.randn(5, 4)
    assert torch.equal(model(x), layer(x))
    assert sum(p.numel() for p in model.parameters()) == 4 * 2 + 2


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)])
def test_mlp_normalises_and_drops_in_hidden_layers_only(norm, kind):
    names = [type(module) for module in MLP((4, 8, 8, 2), norm=norm, dropout=0.5)]
    hidden = [nn.Linear, kind, nn.ReLU, nn.Dropout]
    assert names == [nn.Flatten, *hidden, *hidden, nn.Linear]


def test_mlp_plain_has_no_norm_and_no_dropout():
    assert [type(module) for module in MLP((4, 8, 2))] == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"sizes": (3,)}, "sizes"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": (3, 0, 2)}, "sizes"),
        ({"sizes": (3, 2), "dropout": 1.0}, "dropout"),
        ({"sizes": (3, 2), "dropout": -0.1}, "dropout"),
        ({"sizes": (3, 2), "norm": "group"}, "norm"),
    ],
)
def test_mlp_refuses_bad_arguments_by_name(arguments, named):
    with pytest.raises(ValueError, match=named):
        MLP(**arguments)


def test_lenet5_has_the_papers_parameters():
    model = LeNet5()
    assert sum(p.numel() for p in model.parameters()) == 44_426
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert LeNet5(1)(torch.randn(2, 1, 28, 28)).shape == (2, 1)
    with pytest.raises(ValueError, match="num_classes"):
        LeNet5(0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (784,)])
def test_autoencoder_gives_back_the_shape_it_gets(shape):
    x = torch.rand(3, *shape)
    rebuilt = Autoencoder()(x)
    assert rebuilt.shape == x.shape
    assert ((rebuilt > 0) & (rebuilt < 1)).all()


def test_autoencoder_has_the_papers_layers():
    model = Autoencoder(784, 128, 32)
    sizes = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(784, 128), (128, 32), (32, 128), (128, 784)]
    assert model.encoder(torch.rand(2, 784)).shape == (2, 32)


@pytest.mark.parametrize("model", [partial(MLP, (4, 3, 2)), LeNet5, partial(Autoencoder, 64, 8, 2)])
def test_the_same_seed_gives_the_same_weights_and_models_can_be_pickled(model):
    torch.manual_seed(3)
    one = model()
    torch.manual_seed(3)
    two = pickle.loads(pickle.dumps(model))()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_sizes_may_be_numbers_of_numpy():
    x = torch.randn(3, 4)
    assert MLP(np.array([4, 8, 2]))(x).shape == (3, 2)
    assert LeNet5(np.int64(3))[-1].out_features == 3


@pytest.mark.parametrize("sizes", [(4, 2.0), (4, "2"), (True, 2)])
def test_sizes_that_are_no_whole_numbers_are_refused(sizes):
    with pytest.raises(TypeError, match="sizes must be a whole number"):
        MLP(sizes)
