#include "vmrun/accel/accel.h"

const struct accel_ops *const accel_list[] = { &accel_soft_ops, NULL };
