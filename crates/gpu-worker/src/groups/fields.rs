//! Field values: `nvmlDeviceGetFieldValues`, each field with a return code of its own.

use nvml_wrapper_sys::bindings::{
    nvmlFieldValue_t, nvmlValue_t, nvmlValueType_enum_NVML_VALUE_TYPE_DOUBLE,
    nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT,
    nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_LONG_LONG,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_SHORT,
};

use crate::calls::{Gpu, Refusal, Told};
use crate::codes;

/// The C function.
pub const CALL: &str = "nvmlDeviceGetFieldValues";

/// Most fields asked for at once.
const MOST: usize = 32;

/// One field; `scope` is the link number for fields of links.
pub fn one(gpu: &Gpu<'_>, field: u32, scope: u32) -> Told<u64> {
    several(gpu, &[field], scope)?
        .pop()
        .unwrap_or_else(|| Err(Refusal::impossible(CALL, "no value")))
}

/// Several fields of one scope, in the order asked.
pub fn several(gpu: &Gpu<'_>, ids: &[u32], scope: u32) -> Told<Vec<Told<u64>>> {
    let ids = &ids[..ids.len().min(MOST)];
    let values = gpu.raw(
        CALL,
        &gpu.library().nvmlDeviceGetFieldValues,
        |function, device| {
            let mut values: Vec<nvmlFieldValue_t> = ids
                .iter()
                .map(|id| nvmlFieldValue_t {
                    fieldId: *id,
                    scopeId: scope,
                    timestamp: 0,
                    latencyUsec: 0,
                    valueType: 0,
                    nvmlReturn: codes::NOT_SUPPORTED,
                    value: nvmlValue_t { ullVal: 0 },
                })
                .collect();
            let count = i32::try_from(values.len()).unwrap_or(0);
            // SAFETY: the signature is the bindings'; the count is the live vector's length.
            let code = unsafe { function(device, count, values.as_mut_ptr()) };
            (code, values)
        },
    )?;
    Ok(ids
        .iter()
        .zip(&values)
        .map(|(id, value)| decode(*id, value))
        .collect())
}

fn decode(id: u32, field: &nvmlFieldValue_t) -> Told<u64> {
    if field.fieldId != id {
        return Err(Refusal::impossible(
            CALL,
            format!("asked for field {id}, told of {}", field.fieldId),
        ));
    }
    if field.nvmlReturn == codes::INVALID_ARGUMENT {
        return Err(Refusal {
            call: CALL,
            code: Some(field.nvmlReturn),
            what: format!("this driver does not know field {id}"),
            unsupported: true,
        });
    }
    if field.nvmlReturn != codes::SUCCESS {
        return Err(Refusal {
            call: CALL,
            code: Some(field.nvmlReturn),
            what: format!("field {id}: {}", codes::words(field.nvmlReturn)),
            unsupported: codes::is_unsupported(field.nvmlReturn),
        });
    }
    let bits = field.value;
    // SAFETY: every member of the union is a plain number for which all bits are valid, and the
    // union was written whole when it was made.
    let number = unsafe {
        #[expect(
            non_upper_case_globals,
            reason = "the names are those of NVML's own header"
        )]
        match field.valueType {
            nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT => Some(u64::from(bits.uiVal)),
            nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG
            | nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG => Some(bits.ullVal),
            nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_LONG_LONG => u64::try_from(bits.sllVal).ok(),
            nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT => u64::try_from(bits.siVal).ok(),
            nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_SHORT => Some(u64::from(bits.usVal)),
            nvmlValueType_enum_NVML_VALUE_TYPE_DOUBLE => None,
            _ => None,
        }
    };
    number.ok_or_else(|| {
        Refusal::impossible(
            CALL,
            format!("field {id}: no whole number (type {})", field.valueType),
        )
    })
}
