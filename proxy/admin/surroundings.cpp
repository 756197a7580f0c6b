#include "proxy/admin/surroundings.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <charconv>

#include "config/config.hpp"
#include "proxy/admin/disk_watch.hpp"
#include "proxy/admin/external.hpp"
#include "proxy/telemetry/log.hpp"

namespace breakwater::admin {
namespace {

std::optional<int> status_code(std::string_view text) {
    int code = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), code);
    if (problem != std::errc() || end != text.data() + text.size() || code < 100 || code > 599) return std::nullopt;
    return code;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

bool same(const Thresholds& a, const Thresholds& b) { return a.warn == b.warn && a.fail == b.fail; }

}  // namespace

std::optional<StatusSet> StatusSet::parse(std::string_view text) {
    StatusSet set;
    set.ranges_.clear();
    while (true) {
        const auto comma = text.find(',');
        const std::string_view part = trimmed(text.substr(0, comma));
        const auto dash = part.find('-');
        const auto from = status_code(trimmed(part.substr(0, dash)));
        const auto to = dash == std::string_view::npos ? from : status_code(trimmed(part.substr(dash + 1)));
        if (!from || !to || *from > *to) return std::nullopt;
        set.ranges_.emplace_back(*from, *to);
        if (comma == std::string_view::npos) return set;
        text.remove_prefix(comma + 1);
    }
}

bool StatusSet::contains(int status) const {
    return std::ranges::any_of(ranges_,
                               [&](const auto& range) { return status >= range.first && status <= range.second; });
}

Checks from_config(const config::Checks& checks) {
    Checks out;
    out.memory = Thresholds{checks.memory.warn, checks.memory.fail};
    for (const config::DiskCheck& disk : checks.disk) out.disk.push_back({disk.path, {disk.warn, disk.fail}});
    for (const config::HttpCheck& check : checks.http)
        out.external.push_back({check.name, check.url, check.interval, check.timeout,
                                StatusSet(check.expect_status.from, check.expect_status.to), check.critical});
    return out;
}

struct Surroundings::Impl {
    struct Disk {
        DiskCheck check;
        std::unique_ptr<DiskWatch> watch;
    };
    struct External {
        ExternalCheck check;
        std::shared_ptr<ExternalWatch> watch;
    };

    explicit Impl(boost::asio::io_context& control_thread) : control(control_thread) {}

    // Kept for as long as an attempt may use it: until the control context is gone, hence shared with nobody and never
    // replaced. Made on first use, since reading the system's certificates takes milliseconds.
    boost::asio::ssl::context& tls_context(const std::string& ca_file) {
        if (tls && tls_ca_file == ca_file) return *tls;
        if (tls) retired.push_back(std::move(tls));
        tls = std::make_unique<boost::asio::ssl::context>(boost::asio::ssl::context::tls_client);
        SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
        boost::system::error_code problem;
        if (ca_file.empty())
            tls->set_default_verify_paths(problem);
        else
            tls->load_verify_file(ca_file, problem);
        if (problem)  // nothing is trusted then: every https check says so
            log::error("health", "certificates cannot be read", {{"file", ca_file}, {"reason", problem.message()}});
        tls_ca_file = ca_file;
        return *tls;
    }

    boost::asio::io_context& control;
    std::unique_ptr<boost::asio::ssl::context> tls;
    std::vector<std::unique_ptr<boost::asio::ssl::context>> retired;
    std::string tls_ca_file;
    std::optional<Thresholds> memory;
    std::vector<Disk> disks;
    std::vector<External> externals;
};

Surroundings::Surroundings(boost::asio::io_context& control) : impl_(std::make_unique<Impl>(control)) {}
Surroundings::~Surroundings() { stop(); }

void Surroundings::watch(const Checks& checks) {
    impl_->memory = checks.memory;

    auto disks = std::exchange(impl_->disks, {});
    for (const DiskCheck& check : checks.disk) {
        const auto had = std::ranges::find_if(disks, [&](const Impl::Disk& disk) {
            return disk.watch && disk.check.path == check.path && same(disk.check.thresholds, check.thresholds);
        });
        impl_->disks.push_back(had != disks.end()
                                   ? std::move(*had)
                                   : Impl::Disk{check, std::make_unique<DiskWatch>(check.path, check.thresholds)});
    }

    auto externals = std::exchange(impl_->externals, {});
    for (const ExternalCheck& check : checks.external) {
        const auto had = std::ranges::find_if(externals, [&](const Impl::External& external) {
            return external.watch && checks.ca_file == impl_->tls_ca_file && external.check == check;
        });
        impl_->externals.push_back(
            had != externals.end()
                ? Impl::External{check, std::exchange(had->watch, nullptr)}
                : Impl::External{check, watch_external(impl_->control, impl_->tls_context(checks.ca_file), check)});
    }
    for (const auto& left : externals)
        if (left.watch) left.watch->stop();
}

void Surroundings::stop() {
    impl_->disks.clear();
    for (const auto& external : impl_->externals) external.watch->stop();
    impl_->externals.clear();
}

SurroundingsView Surroundings::view() {
    SurroundingsView view;
    if (impl_->memory) view.memory = measure_memory(*impl_->memory);
    for (const auto& disk : impl_->disks) view.disk.push_back(disk.watch->view());
    for (const auto& external : impl_->externals) view.external.push_back(external.watch->view());
    return view;
}

}  // namespace breakwater::admin
