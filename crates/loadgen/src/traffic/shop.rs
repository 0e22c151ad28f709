//! The shop: which operation of which service calls which others.

/// Something a service does on request.
pub(super) struct Operation {
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    /// Its own work in microseconds, without what it calls.
    pub(super) work_us: (u64, u64),
    pub(super) calls: &'static [Call],
    /// What it logs; `{order}` and `{user}` stand for the trace's.
    pub(super) logs: &'static [&'static str],
    /// Of 1,000 calls so many fail by themselves.
    pub(super) fails_per_mille: u32,
    /// What it says when it fails.
    pub(super) failure: &'static str,
}

/// One thing an operation does on the way.
pub(super) enum Call {
    /// Calls another service; so many of 100 times.
    Service(&'static Operation, u32),
    /// Asks a database, which sends no spans of its own: system, statement, microseconds.
    Database(&'static str, &'static str, (u64, u64)),
}

/// Requests from outside and how often they come relative to each other.
pub(super) const ENTRIES: [(&Operation, u32); 4] =
    [(&CHECKOUT, 4), (&VIEW_PRODUCT, 8), (&VIEW_CART, 5), (&LOG_IN, 3)];

const NEVER_FAILS: (u32, &str) = (0, "");

static CHECKOUT: Operation = Operation {
    service: "frontend",
    name: "POST /checkout",
    work_us: (400, 1_500),
    calls: &[Call::Service(&GET_CART, 100), Call::Service(&PLACE_ORDER, 100)],
    logs: &["checkout of {user} begins", "checkout of {user} ends with order {order}"],
    fails_per_mille: NEVER_FAILS.0,
    failure: NEVER_FAILS.1,
};

static VIEW_PRODUCT: Operation = Operation {
    service: "frontend",
    name: "GET /products/{id}",
    work_us: (200, 900),
    calls: &[Call::Service(&GET_PRODUCT, 100), Call::Service(&RECOMMEND, 70)],
    logs: &["product page for {user}"],
    fails_per_mille: NEVER_FAILS.0,
    failure: NEVER_FAILS.1,
};

static VIEW_CART: Operation = Operation {
    service: "frontend",
    name: "GET /cart",
    work_us: (200, 700),
    calls: &[Call::Service(&GET_CART, 100), Call::Service(&GET_PRODUCT, 60)],
    logs: &["cart page for {user}"],
    fails_per_mille: NEVER_FAILS.0,
    failure: NEVER_FAILS.1,
};

static LOG_IN: Operation = Operation {
    service: "frontend",
    name: "POST /login",
    work_us: (100, 400),
    calls: &[Call::Service(&AUTHENTICATE, 100)],
    logs: &["log in of {user}"],
    fails_per_mille: NEVER_FAILS.0,
    failure: NEVER_FAILS.1,
};

static AUTHENTICATE: Operation = Operation {
    service: "accounts",
    name: "accounts.Accounts/Authenticate",
    work_us: (3_000, 9_000),
    calls: &[Call::Database("postgresql", "SELECT password_hash FROM users", (300, 1_200))],
    logs: &["password of {user} checked"],
    fails_per_mille: 30,
    failure: "wrong password",
};

static GET_CART: Operation = Operation {
    service: "cart",
    name: "cart.Cart/Get",
    work_us: (100, 500),
    calls: &[Call::Database("redis", "HGETALL cart", (80, 400))],
    logs: &["cart of {user} read"],
    fails_per_mille: 5,
    failure: "cart storage timed out",
};

static GET_PRODUCT: Operation = Operation {
    service: "catalog",
    name: "catalog.Catalog/GetProduct",
    work_us: (200, 800),
    calls: &[Call::Database("postgresql", "SELECT * FROM products WHERE id = $1", (200, 2_000))],
    logs: &[],
    fails_per_mille: 5,
    failure: "product not found",
};

static RECOMMEND: Operation = Operation {
    service: "recommendation",
    name: "recommendation.Recommendation/List",
    work_us: (2_000, 9_000),
    calls: &[Call::Service(&GET_PRODUCT, 100), Call::Service(&GET_PRODUCT, 50)],
    logs: &["model answered"],
    fails_per_mille: 10,
    failure: "model is not loaded",
};

static PLACE_ORDER: Operation = Operation {
    service: "checkout",
    name: "checkout.Checkout/PlaceOrder",
    work_us: (500, 2_000),
    calls: &[
        Call::Service(&RESERVE, 100),
        Call::Service(&CHARGE, 100),
        Call::Database("postgresql", "INSERT INTO orders", (500, 2_500)),
        Call::Service(&SHIP, 100),
        Call::Service(&SEND_MAIL, 90),
    ],
    logs: &["order {order} of {user} received", "order {order} placed"],
    fails_per_mille: NEVER_FAILS.0,
    failure: NEVER_FAILS.1,
};

static RESERVE: Operation = Operation {
    service: "inventory",
    name: "inventory.Inventory/Reserve",
    work_us: (300, 1_000),
    calls: &[Call::Database("postgresql", "UPDATE stock SET reserved = reserved + $1", (400, 3_000))],
    logs: &["stock reserved for order {order}"],
    fails_per_mille: 15,
    failure: "out of stock",
};

static CHARGE: Operation = Operation {
    service: "payment",
    name: "payment.Payment/Charge",
    work_us: (8_000, 40_000),
    calls: &[Call::Database("postgresql", "INSERT INTO charges", (300, 1_500))],
    logs: &["order {order} charged"],
    fails_per_mille: 40,
    failure: "card declined",
};

static SHIP: Operation = Operation {
    service: "shipping",
    name: "shipping.Shipping/Ship",
    work_us: (500, 1_500),
    calls: &[],
    logs: &["parcel for order {order} announced"],
    fails_per_mille: 5,
    failure: "no carrier for this address",
};

static SEND_MAIL: Operation = Operation {
    service: "mail",
    name: "mail.Mail/Send",
    work_us: (1_000, 6_000),
    calls: &[],
    logs: &["confirmation of order {order} sent"],
    fails_per_mille: 5,
    failure: "mail server refused the recipient",
};
