#include "proxy/admin/surroundings.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>
#include <thread>

#include "config/config.hpp"

namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace breakwater::admin;
using namespace std::chrono_literals;
using asio::ip::tcp;

namespace {

class Directory {
  public:
    Directory() {
        std::string name = (fs::temp_directory_path() / "breakwater-XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    ~Directory() { fs::remove_all(path_); }
    std::string path() const { return path_; }
    void file(const std::string& name, const std::string& text) const {
        fs::create_directories(fs::path(path_ + name).parent_path());
        std::ofstream(path_ + name) << text;
    }

  private:
    std::string path_;
};

constexpr Thresholds usual{0.80, 0.95};
const std::string machine_8g = "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    2097152 kB\n";

struct MemoryCase {
    const char* name;
    std::vector<std::pair<std::string, std::string>> files;
    const char* source;
    std::uint64_t used, limit;
    CheckStatus status;
};

TEST(Memory, IsMeasuredAsTheKubeletDoes) {
    const MemoryCase cases[] = {
        {"cgroup2, the file cache given back is not in use",
         {{"/proc/self/cgroup", "0::/\n"},
          {"/sys/fs/cgroup/memory.max", "1000000\n"},
          {"/sys/fs/cgroup/memory.current", "900000\n"},
          {"/sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 400000\nactive_file 5\n"}},
         "cgroup2",
         500000,
         1000000,
         CheckStatus::ok},
        {"the group nearest to its limit counts",
         {{"/proc/self/cgroup", "0::/pod/app\n"},
          {"/sys/fs/cgroup/pod/memory.max", "1000000\n"},
          {"/sys/fs/cgroup/pod/memory.current", "960000\n"},
          {"/sys/fs/cgroup/pod/app/memory.max", "2000000\n"},
          {"/sys/fs/cgroup/pod/app/memory.current", "100\n"}},
         "cgroup2",
         960000,
         1000000,
         CheckStatus::fail},
        {"cgroup2 without a limit",
         {{"/proc/self/cgroup", "0::/\n"},
          {"/sys/fs/cgroup/memory.max", "max\n"},
          {"/sys/fs/cgroup/memory.current", "9\n"}},
         "machine",
         6442450944,
         8589934592,
         CheckStatus::ok},
        {"cgroup1",
         {{"/proc/self/cgroup", "5:cpu,cpuacct:/x\n9:memory:/kubepods/pod1\n"},
          {"/sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes", "1000000\n"},
          {"/sys/fs/cgroup/memory/kubepods/pod1/memory.usage_in_bytes", "870000\n"},
          {"/sys/fs/cgroup/memory/kubepods/pod1/memory.stat", "total_inactive_file 10000\n"}},
         "cgroup1",
         860000,
         1000000,
         CheckStatus::warn},
        {"cgroup1 in a container: the path is the host's, the mount is ours",
         {{"/proc/self/cgroup", "9:memory:/kubepods/elsewhere\n"},
          {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n"},
          {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "10\n"}},
         "cgroup1",
         10,
         1000000,
         CheckStatus::ok},
        {"cgroup1 says 2^63 for none",
         {{"/proc/self/cgroup", "9:memory:/\n"},
          {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
          {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "10\n"}},
         "machine",
         6442450944,
         8589934592,
         CheckStatus::ok},
    };
    for (const MemoryCase& one : cases) {
        SCOPED_TRACE(one.name);
        const Directory root;
        root.file("/proc/meminfo", machine_8g);
        for (const auto& [name, text] : one.files) root.file(name, text);
        const MemoryView view = measure_memory(usual, root.path());
        EXPECT_EQ(view.source, one.source);
        EXPECT_EQ(view.used_bytes, one.used);
        EXPECT_EQ(view.limit_bytes, one.limit);
        EXPECT_EQ(view.status, one.status);
    }
    const Directory nothing;
    EXPECT_EQ(measure_memory(usual, nothing.path()).status, CheckStatus::warn);
    EXPECT_FALSE(measure_memory(usual, nothing.path()).error.empty());
    EXPECT_GT(measure_memory(usual).used_bytes, 0u);  // here
}

TEST(Disk, IsMeasured) {
    const DiskView root = measure_disk("/", {2, 2});
    EXPECT_EQ(root.status, CheckStatus::ok);
    EXPECT_GT(root.total_bytes, 0u);
    EXPECT_EQ(measure_disk("/", {0, 2}).status, CheckStatus::warn);
    EXPECT_EQ(measure_disk("/", {0, 0}).status, CheckStatus::fail);
    EXPECT_EQ(measure_disk("/no/such/path", usual).status, CheckStatus::fail);
    EXPECT_EQ(weigh(0.80, usual), CheckStatus::warn);
    EXPECT_EQ(weigh(0.7999, usual), CheckStatus::ok);
}

TEST(StatusSet, ReadsRangesAndLists) {
    const auto mixed = StatusSet::parse("200-204, 301,404");
    ASSERT_TRUE(mixed);
    for (const int good : {200, 204, 301, 404}) EXPECT_TRUE(mixed->contains(good)) << good;
    for (const int bad : {199, 205, 300, 500}) EXPECT_FALSE(mixed->contains(bad)) << bad;
    for (const char* bad : {"", "2xx", "200-", "-200", "299-200", "200,,201", "99", "600"})
        EXPECT_FALSE(StatusSet::parse(bad)) << bad;
    EXPECT_TRUE(StatusSet().contains(299));
}

// A small HTTP(S) server on a thread of its own that answers every connection with the same bytes; "" never answers.
class Server {
  public:
    explicit Server(std::string answer, asio::ssl::context* tls = nullptr)
        : answer_(std::move(answer)),
          tls_(tls),
          acceptor_(io_, {asio::ip::address_v4::loopback(), 0}),
          port_(acceptor_.local_endpoint().port()),
          thread_([this] { serve(); }) {}
    ~Server() {
        stop_ = true;
        boost::system::error_code ignored;
        tcp::socket(io_).connect({asio::ip::address_v4::loopback(), port_}, ignored);
        thread_.join();
    }
    std::string url(const std::string& scheme, const std::string& path) const {
        return scheme + "://127.0.0.1:" + std::to_string(port_) + path;
    }
    int asked() const { return asked_; }
    void answer(int status) { status_ = status; }
    std::string last_request() {
        const std::lock_guard lock(mutex_);
        return last_request_;
    }

  private:
    template <class Stream>
    void talk(Stream& stream) {
        boost::system::error_code problem;
        std::string request;
        asio::read_until(stream, asio::dynamic_buffer(request), "\r\n\r\n", problem);
        {
            const std::lock_guard lock(mutex_);
            last_request_ = request;
        }
        const std::string status = status_ ? "HTTP/1.1 " + std::to_string(status_) + " X\r\n\r\n" : answer_;
        asio::write(stream, asio::buffer(status), problem);
    }
    void serve() {
        std::list<tcp::socket> silent;
        while (true) {
            boost::system::error_code problem;
            tcp::socket socket(io_);
            acceptor_.accept(socket, problem);
            if (stop_ || problem) return;
            ++asked_;
            if (answer_.empty()) {
                silent.push_back(std::move(socket));
            } else if (tls_) {
                asio::ssl::stream<tcp::socket> stream(std::move(socket), *tls_);
                stream.handshake(asio::ssl::stream_base::server, problem);
                if (!problem) talk(stream);
            } else {
                talk(socket);
            }
        }
    }
    std::string answer_;
    asio::ssl::context* tls_;
    std::atomic<int> status_{0}, asked_{0};
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::string last_request_;
    asio::io_context io_;
    tcp::acceptor acceptor_;
    std::uint16_t port_;
    std::thread thread_;
};

class External : public ::testing::Test {
  protected:
    static ExternalCheck check(std::string name, std::string url) {
        ExternalCheck made;
        made.name = std::move(name);
        made.url = std::move(url);
        made.interval = 50ms;
        made.timeout = 400ms;
        return made;
    }
    // Runs the control thread's loop until it holds, or 5 s.
    bool until(const std::function<bool(const SurroundingsView&)>& holds) {
        const auto limit = std::chrono::steady_clock::now() + 5s;
        while (std::chrono::steady_clock::now() < limit) {
            if (holds(surroundings_.view())) return true;
            io_.restart();
            io_.run_for(10ms);
        }
        return false;
    }
    static bool all_checked(const SurroundingsView& view) {
        for (const auto& one : view.external)
            if (!one.checked_at) return false;
        return true;
    }
    asio::io_context io_;
    Surroundings surroundings_{io_};
};

TEST_F(External, OneThatIsStuckDoesNotDelayTheOthers) {
    Server good("HTTP/1.1 204 Fine\r\n\r\n"), wrong("HTTP/1.1 500 No\r\n\r\n"), silent(""), noise("what?\r\n\r\n");
    Checks checks;
    checks.external = {check("silent", silent.url("http", "/")), check("good", good.url("http", "/ping?x=1")),
                       check("wrong", wrong.url("http", "/")),   check("refused", "http://127.0.0.1:1/"),
                       check("noise", noise.url("http", "/")),   check("nonsense", "gopher://x")};
    checks.external[2].critical = true;
    surroundings_.watch(checks);
    ASSERT_TRUE(until([&](const auto& view) { return view.external[1].checked_at.has_value(); }));
    EXPECT_FALSE(surroundings_.view().external[0].checked_at) << "the good one waited for the silent one";
    ASSERT_TRUE(until([&](const auto& view) {
        return view.external[0].checked_at && view.external[2].checked_at && view.external[3].checked_at &&
               view.external[4].checked_at;
    }));
    const auto view = surroundings_.view().external;
    EXPECT_EQ(view[0].error, "timed out after 0.4 s");
    EXPECT_EQ(view[0].status, CheckStatus::warn);
    EXPECT_EQ(view[0].breaker.state, BreakerState::open);
    EXPECT_TRUE(view[0].breaker.next_attempt_at);
    EXPECT_EQ(view[1].status, CheckStatus::ok);
    EXPECT_EQ(view[1].http_status, 204);
    EXPECT_EQ(view[2].error, "answers 500");
    EXPECT_EQ(view[2].status, CheckStatus::fail);
    EXPECT_NE(view[3].error.find("connect"), std::string::npos);
    EXPECT_EQ(view[4].status, CheckStatus::warn);
    EXPECT_EQ(view[5].status, CheckStatus::warn);
    ASSERT_TRUE(until([&](const auto&) { return good.asked() >= 3; }));  // again and again
    EXPECT_EQ(wrong.asked(), 1);                                         // left alone while its breaker is open
    EXPECT_NE(good.last_request().find("GET /ping?x=1 HTTP/1.1"), std::string::npos);
}

TEST_F(External, ComesBackWhenTheAnswerIsGoodAgain) {
    Server server("HTTP/1.1 200 OK\r\n\r\n");
    server.answer(503);
    Checks checks;
    checks.external = {check("api", server.url("http", "/"))};
    surroundings_.watch(checks);
    ASSERT_TRUE(until([](const auto& view) { return view.external[0].status == CheckStatus::warn; }));
    server.answer(0);
    ASSERT_TRUE(until([](const auto& view) { return view.external[0].status == CheckStatus::ok; }));  // after 2 s
    EXPECT_EQ(surroundings_.view().external[0].breaker.closed, 1u);
    EXPECT_EQ(surroundings_.view().external[0].error, "");
}

TEST_F(External, SendsThePasswordButNeverShowsIt) {
    Server server("HTTP/1.1 200 OK\r\n\r\n");
    Checks checks;
    std::string url = server.url("http", "/");
    checks.external = {check("api", url.insert(7, "user:s3cret@"))};
    surroundings_.watch(checks);
    ASSERT_TRUE(until(all_checked));
    EXPECT_NE(server.last_request().find("Authorization: Basic dXNlcjpzM2NyZXQ="), std::string::npos);
    EXPECT_EQ(surroundings_.view().external[0].url.find("s3cret"), std::string::npos);
}

TEST_F(External, AReloadKeepsWhatDidNotChange) {
    Server server("HTTP/1.1 500 No\r\n\r\n");
    Checks checks;
    checks.external = {check("a", server.url("http", "/")), check("b", server.url("http", "/b"))};
    checks.disk = {{"/", usual}};
    surroundings_.watch(checks);
    ASSERT_TRUE(until(all_checked));
    checks.external[1].critical = true;
    surroundings_.watch(checks);
    const auto view = surroundings_.view();
    EXPECT_EQ(view.external[0].status, CheckStatus::warn);  // still knows
    EXPECT_FALSE(view.external[1].checked_at.has_value());  // new
    ASSERT_EQ(view.disk.size(), 1u);
    EXPECT_GT(view.disk[0].total_bytes, 0u);
    surroundings_.watch({});
    EXPECT_TRUE(surroundings_.view().external.empty());
}

// A certificate for 127.0.0.1 (or for another name) that signs itself.
void make_certificate(const std::string& file, const char* subject_alternative) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME* name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, subject_alternative);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(cert, key, EVP_sha256());
    FILE* out = std::fopen(file.c_str(), "w");
    PEM_write_X509(out, cert);
    PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(out);
    X509_free(cert);
    EVP_PKEY_free(key);
}

TEST_F(External, VerifiesCertificates) {
    struct TlsCase {
        const char* name;
        const char* subject;
        bool trusted;
        CheckStatus status;
    };
    for (const TlsCase& one : {TlsCase{"trusted", "IP:127.0.0.1", true, CheckStatus::ok},
                               TlsCase{"another name", "DNS:elsewhere.example", true, CheckStatus::warn},
                               TlsCase{"not trusted", "IP:127.0.0.1", false, CheckStatus::warn}}) {
        SCOPED_TRACE(one.name);
        const Directory files;
        const std::string pem = files.path() + "/pem";
        make_certificate(pem, one.subject);
        asio::ssl::context tls(asio::ssl::context::tls_server);
        tls.use_certificate_chain_file(pem);
        tls.use_private_key_file(pem, asio::ssl::context::pem);
        Server server("HTTP/1.1 200 OK\r\n\r\n", &tls);
        Checks checks;
        checks.external = {check("api", server.url("https", "/"))};
        if (one.trusted) checks.ca_file = pem;
        surroundings_.watch(checks);
        EXPECT_TRUE(until(all_checked));
        const auto view = surroundings_.view().external.at(0);
        EXPECT_EQ(view.status, one.status) << view.error;
        if (one.status != CheckStatus::ok) {
            EXPECT_TRUE(view.error.starts_with("tls: ")) << view.error;
        }
        surroundings_.watch({});
    }
}

TEST_F(External, StopsWithChecksUnderWay) {
    Server silent("");
    Checks checks;
    checks.external = {check("silent", silent.url("http", "/")), check("name", "http://does-not-exist.invalid/")};
    surroundings_.watch(checks);
    io_.run_for(30ms);
    surroundings_.stop();
    io_.restart();
    const auto start = std::chrono::steady_clock::now();
    io_.run();  // nothing is left that would keep it
    EXPECT_LT(std::chrono::steady_clock::now() - start, 300ms);
}

TEST(FromConfig, TakesEveryKey) {
    breakwater::config::Checks in;
    in.memory = {0.5, 0.6};
    in.disk = {{"/data", 0.7, 0.9}};
    in.http = {{"api", "https://x/", 3s, 1s, {200, 204}, true}};
    const Checks out = from_config(in);
    EXPECT_EQ(out.memory->fail, 0.6);
    EXPECT_EQ(out.disk.at(0).path, "/data");
    EXPECT_EQ(out.disk.at(0).thresholds.warn, 0.7);
    const ExternalCheck& api = out.external.at(0);
    EXPECT_EQ(api.name, "api");
    EXPECT_EQ(api.interval, 3s);
    EXPECT_EQ(api.timeout, 1s);
    EXPECT_TRUE(api.critical && api.expect.contains(204) && !api.expect.contains(205));
}

}  // namespace
