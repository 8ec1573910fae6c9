/*
 * image.h - constants that entry.S and the C files share.
 */
#ifndef GUEST_IMAGE_H
#define GUEST_IMAGE_H

#define COM1          0x3f8
#define STACK_BYTES   0x4000 /* per processor, aligned to itself: struct cpu lies at the bottom */
#define AP_TRAMPOLINE 0x8000 /* SIPI vector 8 */
#define SEL_CODE64    0x10
#define SEL_DATA      0x18

#endif
