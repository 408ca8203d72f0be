//! The C functions, by the names that NVML's header gives them.

mod events;
mod health;
mod identity;
mod links;
mod system;

/// Functions `(device, arguments…, *mut T)` that write one value.
macro_rules! values {
    ($($function:ident($($argument:ident: $kind:ty),*) -> $output:ty = $answer:expr;)*) => {$(
        #[doc = concat!("`", stringify!($function), "`.")]
        ///
        /// # Safety
        /// As NVML's header says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(
            device: *const (),
            $($argument: $kind,)*
            to: *mut $output,
        ) -> nvml_wrapper_sys::bindings::nvmlReturn_t {
            let outputs = [crate::fault::Output::one(to)];
            crate::fault::on_gpu(stringify!($function), device, &outputs, |gpu| {
                let answer: fn(&crate::state::Gpu $(, $kind)*) -> Option<$output> = $answer;
                // SAFETY: the caller of the C function gives a live output.
                unsafe { crate::fault::put(to, answer(gpu $(, $argument)*)) }
            })
        }
    )*};
}
pub(crate) use values;
