// recv, send and epoll_wait for the data path, straight to the kernel. In a program with several threads glibc makes
// each of them a cancellation point, which is two more atomic exchanges a call. No thread here is ever cancelled, and a
// proxied query is little else than these calls: measured, they are 4% of its CPU. Errors as ever: -1 and errno.
//
// Under a sanitizer the ordinary calls are used, since it watches what they read and write.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BREAKWATER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define BREAKWATER_SANITIZED 1
#endif
#endif

namespace breakwater::net::system {

#ifdef BREAKWATER_SANITIZED
inline ssize_t recv(int fd, void* to, std::size_t size) { return ::recv(fd, to, size, 0); }
inline ssize_t send(int fd, const void* from, std::size_t size) { return ::send(fd, from, size, MSG_NOSIGNAL); }
inline int epoll_wait(int epoll, epoll_event* events, int most, int milliseconds) {
    return ::epoll_wait(epoll, events, most, milliseconds);
}
#else
inline ssize_t recv(int fd, void* to, std::size_t size) {
    return ::syscall(SYS_recvfrom, fd, to, size, 0, nullptr, nullptr);
}
inline ssize_t send(int fd, const void* from, std::size_t size) {
    return ::syscall(SYS_sendto, fd, from, size, MSG_NOSIGNAL, nullptr, 0);
}
inline int epoll_wait(int epoll, epoll_event* events, int most, int milliseconds) {
    // Not every architecture has the plain one; the last argument is the size of the kernel's signal mask.
    return static_cast<int>(::syscall(SYS_epoll_pwait, epoll, events, most, milliseconds, nullptr, _NSIG / 8));
}
#endif

}  // namespace breakwater::net::system
