/* For machines whose processors have larger register sets than user-mode Linux 6.1 knows (Intel AMX).
 *
 * User-mode Linux keeps its processes' extended registers in a buffer of fixed size, and Linux accepts them back
 * only in full ("ptrace set fp regs failed, errno = 14"). This library, loaded with LD_PRELOAD, completes a short
 * set with what the process has: registers beyond the buffer are used by nobody in the guest. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GET_REGISTER_SET = 0x4204, SET_REGISTER_SET = 0x4205 };
#define EXTENDED_STATE ((void *)0x202)

/* Not on the stack: user-mode Linux's kernel stacks are small. It has one thread that calls ptrace. */
static char whole[1 << 16] __attribute__((aligned(64)));

long ptrace(int request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    int pid = va_arg(arguments, int);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (request >= PEEK_FIRST && request <= PEEK_LAST) { /* the C library returns what the kernel stores */
        long word;
        if (syscall(SYS_ptrace, request, pid, address, &word) < 0)
            return -1;
        errno = 0;
        return word;
    }
    if (request == SET_REGISTER_SET && address == EXTENDED_STATE) {
        struct iovec *given = data, all = {whole, sizeof whole};
        if (syscall(SYS_ptrace, GET_REGISTER_SET, pid, address, &all) < 0)
            return -1;
        if (given->iov_len < all.iov_len) {
            memcpy(whole, given->iov_base, given->iov_len);
            data = &all;
        }
    }
    return syscall(SYS_ptrace, request, pid, address, data);
}
