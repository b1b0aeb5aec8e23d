//! Choices made from numbers that proptest gives: where they become smaller, the choices become plainer.

/// Numbers that are used one after the other, and zeros after the last.
pub(super) struct Dice<'d> {
    numbers: &'d [u16],
    at: usize,
}

impl<'d> Dice<'d> {
    pub(super) fn new(numbers: &'d [u16]) -> Self {
        Self { numbers, at: 0 }
    }

    /// A number below this one, or zero.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let number = self.numbers.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        usize::from(number) % limit.max(1)
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) + 1 == times
    }

    pub(super) fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.below(items.len()))
    }

    /// One of these words.
    pub(super) fn word(&mut self, words: &[&'static str]) -> &'static str {
        self.pick(words).copied().unwrap_or_default()
    }
}
