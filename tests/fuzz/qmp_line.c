/* SPDX-License-Identifier: MIT */
/* What a QMP client can send: framing, then each frame parsed and answered. */
#include "vmrun/control/qmp.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void one(const char *text, size_t len)
{
	struct qmp_request r;
	struct fail        why = { 0 };
	json_t            *m;

	if (qmp_parse(&r, text, len, &why))
		m = qmp_error(r.id, "GenericError", why.what);
	else
		m = qmp_error(r.id, "CommandNotFound", r.command);
	if (!m)
		abort();
	free(json_dumps(m, JSON_COMPACT));
	json_decref(m);
	qmp_request_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct qmp_scan s = { 0 };
	size_t          begin = 0;

	for (size_t i = 0; i < len; i++) {
		enum qmp_step step = qmp_scan(&s, (char)data[i]);

		if (step == QMP_DEEP)
			return 0;
		if (step == QMP_VALUE || step == QMP_BEFORE) {
			if (step == QMP_BEFORE && i-- == begin)
				/* an empty value: it would be scanned again for ever */
				abort();
			one((const char *)data + begin, i + 1 - begin);
		}
		if (step != QMP_MORE)
			begin = i + 1;
		if (s.depth > QMP_DEPTH_MAX)
			abort();
	}
	return 0;
}
