/* SPDX-License-Identifier: Apache-2.0
 *
 * What the planted breach includes. */
