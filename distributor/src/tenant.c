#include "tide/distributor/distributor.h"

static bool tenant_byte_ok(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!-_.*'()", c) != NULL);
}

enum tide_err tide_tenant_of(const struct tide_http_exchange *x, struct tide_slice *out,
                             struct tide_diag *diag)
{
    struct tide_slice tenant = tide_http_header(x, "X-Scope-OrgID");

    if (tenant.len == 0)
        tenant = TIDE_SLICE("anonymous");
    if (tenant.len > TIDE_TENANT_BYTES_MAX)
        return tide_diag_err(diag, TIDE_ERR_INVALID,
                             "X-Scope-OrgID: tenant name of %zu bytes is longer than %d",
                             tenant.len, TIDE_TENANT_BYTES_MAX);
    for (size_t i = 0; i < tenant.len; i++) {
        if (!tenant_byte_ok(tenant.ptr[i]))
            return tide_diag_err(
                diag, TIDE_ERR_INVALID,
                "X-Scope-OrgID: byte %zu of the tenant name (0x%02x) is not allowed: "
                "letters, digits and !-_.*'() are",
                i, tenant.ptr[i]);
    }
    *out = tenant;
    return TIDE_OK;
}
