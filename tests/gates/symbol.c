/* SPDX-License-Identifier: Apache-2.0
 *
 * A planted export without the prefix, beside one with it. The gate must name the first. */
__attribute__((visibility("default"))) int troupe_gate_is_fine(void);
__attribute__((visibility("default"))) int gate_symbol_without_prefix(void);

int troupe_gate_is_fine(void)
{
    return 0;
}

int gate_symbol_without_prefix(void)
{
    return 0;
}
