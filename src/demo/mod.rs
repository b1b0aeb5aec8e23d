//! The miniature Alyx over the sample lab: the upstream of the demo and of the tests.
