//! Operands whose borders are watched: a read before the first element spoils the result, a write there is noticed, and
//! whatever touches what lies behind the last element ends the test program at once.

use std::marker::PhantomData;
use std::slice;

use crate::element::Element;

/// A slice between a border of NaN and, on Unix, a page without any permission; elsewhere a second border of NaN.
pub(crate) struct Guarded<T> {
    memory: memory::Memory,
    length: usize,
    elements: PhantomData<T>,
}

/// Elements of the border.
const BORDER: usize = 67;

impl<T: Element> Guarded<T> {
    pub(crate) fn new(values: &[T]) -> Self {
        let size = size_of::<T>();
        let memory = memory::Memory::new((BORDER + values.len() + memory::BEHIND) * size);
        let mut guarded = Self { memory, length: values.len(), elements: PhantomData };
        let (length, all) = (guarded.length, guarded.all());
        all.fill(T::narrow(f32::NAN));
        all[BORDER..BORDER + length].copy_from_slice(values);
        guarded
    }

    /// An output, full of NaN so that a missed element is noticed.
    pub(crate) fn output(length: usize) -> Self {
        Self::new(&vec![T::narrow(f32::NAN); length])
    }

    pub(crate) fn get(&self) -> &[T] {
        &self.everything()[BORDER..BORDER + self.length]
    }

    pub(crate) fn get_mut(&mut self) -> &mut [T] {
        let length = self.length;
        &mut self.all()[BORDER..BORDER + length]
    }

    pub(crate) fn check(&self) {
        let (before, rest) = self.everything().split_at(BORDER);
        let mut borders = before.iter().chain(&rest[self.length..]);
        assert!(borders.all(|value| value.widen().is_nan()), "a border was written");
    }

    fn everything(&self) -> &[T] {
        let count = BORDER + self.length + memory::BEHIND;
        // SAFETY: the memory holds `count` elements, all written by `new`, it ends at a multiple of the size of an element,
        // which is a power of two, and it lives as long as `self`.
        unsafe { slice::from_raw_parts(self.memory.start().cast(), count) }
    }

    fn all(&mut self) -> &mut [T] {
        let count = BORDER + self.length + memory::BEHIND;
        // SAFETY: as in `everything`, with the exclusive borrow of `self`; fresh memory is zero, which every element may be.
        unsafe { slice::from_raw_parts_mut(self.memory.start().cast(), count) }
    }
}

/// Zeros that end where a page without permission begins: the memory of packed weights in these tests.
#[cfg(unix)]
pub(crate) struct GuardedBytes {
    memory: memory::Memory,
    count: usize,
}

#[cfg(unix)]
impl GuardedBytes {
    pub(crate) fn zeros(count: usize) -> Self {
        Self { memory: memory::Memory::new(count), count }
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.memory.start()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.start()
    }
}

#[cfg(unix)]
impl Clone for GuardedBytes {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.count);
        // SAFETY: two mappings of `count` bytes each.
        unsafe { copy.as_mut_ptr().copy_from_nonoverlapping(self.as_ptr(), self.count) };
        copy
    }
}

#[cfg(unix)]
impl std::fmt::Debug for GuardedBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes", self.count)
    }
}

// SAFETY: the bytes belong to their owner alone, wherever it goes, and change only through its unique borrow.
#[cfg(unix)]
unsafe impl Send for GuardedBytes {}
// SAFETY: as above.
#[cfg(unix)]
unsafe impl Sync for GuardedBytes {}

#[cfg(unix)]
mod memory {
    use std::ptr;

    /// Elements of a border behind the last element: the guard page is there.
    pub(super) const BEHIND: usize = 0;

    /// Some bytes that end where a page without permission begins.
    pub(super) struct Memory {
        map: *mut u8,
        mapped: usize,
        offset: usize,
    }

    impl Memory {
        pub(super) fn new(bytes: usize) -> Self {
            // SAFETY: asks for a constant of the system.
            let page =
                usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("pages have a size");
            let usable = bytes.next_multiple_of(page);
            let mapped = usable + page;
            // SAFETY: a new private mapping at an address that the system chooses touches nothing that is there.
            let map = unsafe {
                let (rights, kind) =
                    (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                libc::mmap(ptr::null_mut(), mapped, rights, kind, -1, 0)
            };
            assert!(map != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
            let map: *mut u8 = map.cast();
            // SAFETY: the last page of the mapping that was just made, to which nothing refers yet.
            let refused = unsafe { libc::mprotect(map.add(usable).cast(), page, libc::PROT_NONE) };
            assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
            Self { map, mapped, offset: usable - bytes }
        }

        pub(super) fn start(&self) -> *mut u8 {
            // SAFETY: the offset lies within the mapping.
            unsafe { self.map.add(self.offset) }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the whole mapping made by `new`; slices of it borrow the owner, so none is left.
            let refused = unsafe { libc::munmap(self.map.cast(), self.mapped) };
            assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
        }
    }
}

#[cfg(not(unix))]
mod memory {
    use std::cell::UnsafeCell;

    /// Elements of a border behind the last element, in place of a guard page.
    pub(super) const BEHIND: usize = super::BORDER;

    /// Some bytes, aligned for every element.
    pub(super) struct Memory(Vec<UnsafeCell<u64>>);

    impl Memory {
        pub(super) fn new(bytes: usize) -> Self {
            Self((0..bytes.div_ceil(8)).map(|_| UnsafeCell::new(0)).collect())
        }

        pub(super) fn start(&self) -> *mut u8 {
            self.0.as_ptr().cast_mut().cast()
        }
    }
}

/// A border that cannot be violated would prove nothing: a child process that reads one element too far is killed.
#[cfg(unix)]
#[test]
fn one_element_too_far_is_the_end() {
    let guarded = Guarded::<f32>::new(&[1.0; 5]);
    assert_killed_behind(guarded.get(), "one_element_too_far_is_the_end");
    guarded.check();
}

#[cfg(unix)]
#[test]
fn one_weight_too_far_is_the_end() {
    let weights = crate::scratch::AlignedBox::<f32>::zeros(32);
    assert_killed_behind(&weights, "one_weight_too_far_is_the_end");
}

/// Starts `test` again as a child, which comes here and reads behind the end of `values`.
#[cfg(unix)]
fn assert_killed_behind(values: &[f32], test: &str) {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const CHILD: &str = "NOISEFIND_TEST_READS_TOO_FAR";
    if std::env::var_os(CHILD).is_some() {
        let end = values.as_ptr_range().end;
        // SAFETY: none; the read is forbidden by the guard page, and this process exists to be killed for it.
        let value = unsafe { end.read_volatile() };
        panic!("read {value}");
    }
    let this = std::env::current_exe().expect("the test program");
    let test = format!("tests::guarded::{test}");
    let status =
        Command::new(this).args(["--exact", &test]).env(CHILD, "1").output().expect("it starts").status;
    assert!(matches!(status.signal(), Some(libc::SIGSEGV | libc::SIGBUS)), "{status:?}");
}
