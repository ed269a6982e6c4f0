import torch
from hypothesis import given
from hypothesis import strategies as st

from speaq_hf.models.speaq.box_ops_speaq import box_area, box_iou, generalized_box_iou


coordinates = st.tuples(*[st.floats(0, 100, width=32)] * 4)


def as_box(values: tuple[float, ...]) -> torch.Tensor:
    x1, x2 = sorted(values[:2])
    y1, y2 = sorted(values[2:])
    return torch.tensor([x1, y1, x2, y2])


@given(coordinates, coordinates)
def test_ranges_and_symmetry(a, b):
    a, b = as_box(a), as_box(b)
    iou, giou = box_iou(a, b), generalized_box_iou(a, b)
    assert 0 <= iou <= 1 + 1e-6 and -1 <= giou <= iou + 1e-6
    assert torch.equal(iou, box_iou(b, a)) and torch.equal(giou, generalized_box_iou(b, a))


def test_known_values():
    a, b = torch.tensor([0.0, 0, 4, 4]), torch.tensor([[2.0, 2, 6, 6], [0, 0, 4, 4], [8, 0, 10, 4], [1, 1, 2, 2]])
    torch.testing.assert_close(box_iou(a, b), torch.tensor([4 / 28, 1, 0, 1 / 16]))
    torch.testing.assert_close(generalized_box_iou(a, b), torch.tensor([4 / 28 - 8 / 36, 1, -16 / 40, 1 / 16]))
    assert box_area(torch.tensor([3.0, 3, 1, 5])) == 0  # inverted


def test_empty_boxes_have_finite_values_and_gradients():
    a = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 5]], requires_grad=True)
    value = box_iou(a, a.detach()).sum() + generalized_box_iou(a, a.detach()).sum()
    value.backward()
    assert value == 0 and a.grad.isfinite().all()
