// Passwords: what a client must prove before it is let in, and what else a session may ask for at once.
#include "protocols/postgres/md5.hpp"
#include "transcript.hpp"

namespace breakwater::postgres::transcript {

namespace {
struct Door {
    explicit Door(User user) : database(options(), {{"ann", std::move(user)}}), talk(database, {false, 1}) {}
    static Options options() {
        Options options;
        options.database = "orders";
        options.auth = ClientAuth::password;
        return options;
    }
    std::string say(const std::string& bytes) {
        std::string told;
        EXPECT_EQ(talk.on_client(bytes, orders), bytes.size());
        for (const Orders::Op& op : orders.ops()) {
            if (op.kind == Orders::Kind::reply) told += orders.bytes(op);
            if (op.kind == Orders::Kind::open) opened = true;
            if (op.kind == Orders::Kind::hang_up) hung_up = true;
        }
        orders.clear();
        return told;
    }
    PostgresDatabase database;
    PostgresConversation talk;
    Orders orders;
    bool opened = false, hung_up = false;
};

std::string password(std::string_view text) {
    std::string out;
    frontend::password(out, text);
    return out;
}

// Tries to get in by SCRAM-SHA-256.
bool proves(Door& door, const std::string& secret) {
    ScramClient client(secret);
    EXPECT_EQ(outline(door.say(start_up())), "R");
    std::string out;
    const std::string mechanism(client.choose(false, true));
    frontend::sasl_initial_response(out, mechanism, client.begin());
    const std::string challenge = door.say(out);
    EXPECT_EQ(outline(challenge), "R");
    std::string proof, answer;
    (void)client.answer(ByteView(challenge).substr(9), proof);
    frontend::sasl_response(answer, proof);
    const std::string told = door.say(answer);
    if (!door.opened) {
        EXPECT_EQ(outline(told), "E28P01");
    }
    return door.opened;
}
}  // namespace

TEST(Login, by_md5) {
    Door right({md5_secret("ann", "secret"), {}});
    const std::string asked = right.say(start_up());
    ASSERT_EQ(asked.size(), 13U);
    EXPECT_EQ(right.say(password(md5_answer("ann", "secret", asked.substr(9)))), "");
    EXPECT_TRUE(right.opened);
    Door wrong({md5_secret("ann", "secret"), {}});
    const std::string again = wrong.say(start_up());
    EXPECT_EQ(outline(wrong.say(password(md5_answer("ann", "guess", again.substr(9))))), "E28P01");
    EXPECT_TRUE(wrong.hung_up && !wrong.opened);
}

TEST(Login, by_scram) {
    Door right({"secret", make_verifier("secret")});
    EXPECT_TRUE(proves(right, "secret"));
    Door wrong({"secret", make_verifier("secret")});
    EXPECT_FALSE(proves(wrong, "guess"));
    EXPECT_TRUE(wrong.hung_up);
}

TEST(Login, a_query_instead_of_a_password) {
    Door door({"secret", make_verifier("secret")});
    door.say(start_up());
    EXPECT_EQ(outline(door.say(query("SELECT 1"))), "E08P01");
    EXPECT_TRUE(door.hung_up && !door.opened);
}

TEST(SessionMode, names_and_server_stay_with_the_client) {
    Options options;
    options.mode = PoolMode::session;
    const std::string head = parse("a", "SELECT 1") + bind_to("a") + execute() + sync();
    Script t(options, false);
    t.client(start_up()).events("open").opens().outlined("R K ZI");
    t.passes(head, parsed() + bound() + done("SELECT 1"), "ok");
    t.passes(query("LISTEN c"), done("LISTEN"), "ok");
    t.client(terminate()).events("hang_up dirty");
    t.play();
}

}  // namespace breakwater::postgres::transcript
