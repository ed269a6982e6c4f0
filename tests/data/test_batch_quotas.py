from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from speaq_hf.data.batch_quotas import BatchQuotas


def shares_of(parts, batch_size):
    return [Fraction(part, sum(parts)) * batch_size for part in parts]


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.integers(1, 999_983), min_size=1, max_size=5),
    batch_size=st.integers(1, 40),
    batches=st.lists(st.integers(0, 3000), min_size=1, max_size=5),
)
def test_any_batch_in_any_order(parts, batch_size, batches):
    shares = shares_of(parts, batch_size)
    quotas = BatchQuotas(shares)
    for batch in batches:
        before, after = quotas.before(batch), quotas.before(batch + 1)
        assert before == BatchQuotas(shares).before(batch)
        assert sum(before) == batch * batch_size
        for share, start, stop in zip(shares, before, after, strict=True):
            assert abs(start - share * batch) < 1
            assert share // 1 <= stop - start <= -(-share // 1)


def test_far_batches_of_two_sources_need_no_counting():
    shares = [*shares_of([123_457, 876_543], 20), Fraction(5)]
    quotas = BatchQuotas(shares)
    far = 10**15 + 7
    assert sum(quotas.before(far)) == 25 * far
    assert all(
        abs(count - share * far) <= Fraction(1, 2) for count, share in zip(quotas.before(far), shares, strict=True)
    )


def test_far_batches_are_counted_to_the_end_of_a_period_at_most():
    shares = shares_of([13, 11, 76], 7)
    quotas = BatchQuotas(shares)
    assert quotas.before(10**15 * 100 + 3) == [
        count + int(share * 10**15 * 100) for count, share in zip(quotas.before(3), shares, strict=True)
    ]
