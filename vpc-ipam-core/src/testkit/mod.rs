//! Stateful fakes, the EC2 state model and checkers.
pub mod ec2;
