//! Bytes that show any loss, doubling or change of order.

/// This many of them.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
