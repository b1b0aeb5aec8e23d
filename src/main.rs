//! Arguments ▸ settings ▸ command; nothing else.

fn main() {}
