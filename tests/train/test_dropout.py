"""Dropout: what is left out, how often, and that the step alone decides it."""

import numpy as np
import pytest
import torch

from tonewise.train.dropout import Dropout

X = torch.ones(200, 500)


def drawn(share: float, *seed: int) -> torch.Tensor:
    dropout = Dropout(share)
    dropout.begin(*seed)
    return dropout(X)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_the_share_is_left_out_and_the_mean_stays(share: float) -> None:
    found = drawn(share, 0, 1)
    assert (found == 0).double().mean().item() == pytest.approx(share, abs=0.006)
    assert found.double().mean().item() == pytest.approx(1, abs=0.04)
    assert len(set(found.flatten().tolist())) == 2


@pytest.mark.parametrize("share", [0.998, 0.9999])
def test_something_is_always_left(share: float) -> None:
    found = drawn(share, 0, 1)
    assert 0 < (found > 0).double().mean().item() < 0.01
    assert found.double().mean().item() == pytest.approx(1, abs=0.2)


def test_outside_of_a_step_and_with_no_share_everything_passes() -> None:
    assert drawn(0.0, 0, 1) is X
    dropout = Dropout(0.5)
    assert dropout(X) is X
    dropout.begin(0, 1)
    assert dropout(X) is not X
    dropout.end()
    assert dropout(X) is X


def test_the_step_alone_decides() -> None:
    dropout = Dropout(0.5)
    dropout.begin(3, 1)
    for _ in range(5):
        dropout(X)
    dropout.begin(3, 2)
    first, second = dropout(X), dropout(X)
    assert torch.equal(first, drawn(0.5, 3, 2))
    assert not torch.equal(first, second)
    for other in ((3, 3), (4, 2), (2, 3)):
        assert not torch.equal(first, drawn(0.5, *other))


def test_torchs_own_numbers_do_not_matter_and_are_not_used_up() -> None:
    torch.manual_seed(0)
    first, after = drawn(0.5, 1, 1), torch.rand(1)
    assert torch.equal(first, drawn(0.5, 1, 1))
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)


def test_a_gradient_passes_where_the_value_did() -> None:
    dropout = Dropout(0.5)
    x = X.clone().requires_grad_()
    dropout.begin(0, 1)
    found = dropout(x)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), found.detach().numpy())
