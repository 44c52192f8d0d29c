// SPDX-License-Identifier: Apache-2.0
//! mimalloc for both programs, as is usual where Tokio is to be fast: with the C library's allocator, which gives blocks
//! back to the arena of the thread they came from, creation is up to two times slower (fork_join_create, fan_in).
use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

#[link(name = "mimalloc")]
extern "C" {
    fn mi_malloc_aligned(size: usize, align: usize) -> *mut c_void;
    fn mi_zalloc_aligned(size: usize, align: usize) -> *mut c_void;
    fn mi_realloc_aligned(block: *mut c_void, size: usize, align: usize) -> *mut c_void;
    fn mi_malloc(size: usize) -> *mut c_void;
    fn mi_free(block: *mut c_void);
}

struct Mimalloc;

#[global_allocator]
static ALLOCATOR: Mimalloc = Mimalloc;

// SAFETY: mimalloc keeps the contract of malloc for sizes and alignments that a Layout allows.
unsafe impl GlobalAlloc for Mimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= 16 && layout.align() <= layout.size() {
            return mi_malloc(layout.size()).cast();
        }
        mi_malloc_aligned(layout.size(), layout.align()).cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        mi_zalloc_aligned(layout.size(), layout.align()).cast()
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        mi_realloc_aligned(block.cast(), size, layout.align()).cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        mi_free(block.cast());
    }
}
