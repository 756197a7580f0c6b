#include "protocols/resp/redis.hpp"

#include "protocols/resp/conversation.hpp"
#include "protocols/resp/sentinel.hpp"

namespace breakwater::resp {

namespace {

// Redis has no request to cancel another; a connection that is closed ends what it waits for.
class NoErrand final : public Errand {
  public:
    void begin(Step& step) override { step.status = Status::done; }
    std::size_t hear(ByteView bytes, Step&) override { return bytes.size(); }
};

}  // namespace

std::unique_ptr<Conversation> Redis::converse(const ClientInfo& client) {
    return std::make_unique<RespConversation>(*database_, client);
}

Protocol::Greeted Redis::greet_as(const Identity& identity, bool readonly) {
    auto state = std::make_unique<RespUpstream>();
    std::function<void(std::shared_ptr<const CommandTable>)> learn;
    // The connection may outlive a reload, which replaces the database.
    const std::weak_ptr to = database_;
    if (database_->wants_table())
        learn = [to](std::shared_ptr<const CommandTable> table) {
            if (const auto database = to.lock()) database->learn(std::move(table));
        };
    const auto on_version = [to](std::uint64_t version) {
        if (const auto database = to.lock()) database->on_version(version);
    };
    auto errand =
        std::make_unique<GreetingErrand>(*state, static_cast<const RespIdentity&>(identity).login, std::move(learn),
                                         database_->options().upstream_tls, on_version, readonly);
    return {std::move(errand), std::move(state)};
}

ErrandPtr Redis::position(UpstreamState&, std::shared_ptr<Position> into) {
    return std::make_unique<PositionErrand>(std::move(into));
}

ErrandPtr Redis::reset(UpstreamState& state) {
    return std::make_unique<ResetErrand>(static_cast<RespUpstream&>(state));
}

ErrandPtr Redis::ping(UpstreamState& state) { return std::make_unique<PingErrand>(static_cast<RespUpstream&>(state)); }

ErrandPtr Redis::cancel(UpstreamState&) { return std::make_unique<NoErrand>(); }

IdentityRef Redis::default_identity() {
    if (!database_->options().upstream_user && database_->options().auth == ClientAuth::password) return nullptr;
    return database_->identity("default", 0, Version::resp2);
}

IdentityRef Redis::renew(const Identity& old) {
    const auto& who = static_cast<const RespIdentity&>(old);
    return database_->identity(who.client_user, who.login.database, who.login.version,
                               who.own_password ? who.login.password : std::nullopt);
}

ErrandPtr Redis::locate(std::shared_ptr<Located> into) {
    const Options& options = database_->options();
    if (options.cluster)
        return std::make_unique<ClusterErrand>(database_->own_login(), options.upstream_tls, std::move(into));
    return std::make_unique<LocateErrand>(options.master_name, options.upstream_tls, std::move(into));
}

ErrandPtr Redis::hearken(std::function<void()> on_change) {
    if (database_->is_cluster()) return nullptr;  // its nodes tell nobody of their own accord
    return std::make_unique<HearkenErrand>(database_->options().upstream_tls, std::move(on_change));
}

std::optional<Located> Redis::agree(const Poll& poll, const Located& known) {
    return database_->is_cluster() ? merge_views(poll) : elect(poll, known);
}

}  // namespace breakwater::resp
