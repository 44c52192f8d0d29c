// SPDX-License-Identifier: Apache-2.0
//! What the two programs share: `support` is the frame around a case, `actor` the supervised design.
pub mod actor;
mod allocator;
pub mod support;
