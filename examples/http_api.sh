#!/bin/sh
# From nothing to the first email with curl alone: a business and a customer at Portico, a card at Stripe that is declined.
#
#     make run                    # in another terminal; it makes a key and prints the addresses
#     sh examples/http_api.sh
#
# What moves `make run` moves this, too: API_PORT, SANDBOX_PORT and PORTICO_VAR. API, KEY, STRIPE (a stand-in for Stripe and the
# mailbox is at the same address) and EMAIL can be set as well.
set -eu
API=${API:-http://127.0.0.1:${API_PORT:-8003}/api/v1}
file=${PORTICO_VAR:-var}/api.key
KEY=${KEY:-$(cat "$file" 2>/dev/null || true)}
test -n "$KEY" || {
    echo "no key in $file: start make run first, in this folder, or set KEY to a key of portico keys create" >&2
    exit 2
}
STRIPE=${STRIPE:-http://127.0.0.1:${SANDBOX_PORT:-8010}}
EMAIL=${EMAIL:-grace@example.com}

for address in "$API" "$STRIPE"; do
    curl --silent --output /dev/null --noproxy '*' "$address" || {
        echo "nothing answers at $address: is make run running there? (API_PORT, SANDBOX_PORT)" >&2
        exit 1
    }
done

portico() { # PATH [JSON]
    path=$1
    shift
    for body; do set -- --header "Content-Type: application/json" --data "$body"; done
    curl --silent --show-error --fail-with-body --noproxy '*' "$API$path" --header "Authorization: Bearer $KEY" "$@"
}

stripe() { # PATH [FIELD=VALUE…], as your software does already
    path=$1
    shift
    for field; do set -- "$@" --data-urlencode "$field"; shift; done
    curl --silent --show-error --fail-with-body --noproxy '*' "$STRIPE$path" -u "sk_test_example:" "$@"
}

first() { # NAME: of the first such field of a JSON document
    grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | sed 's/.*: *"\(.*\)"/\1/'
}

# 1. Who you are, and whom you work for. Both are safe to repeat: your own ids say what is meant.
portico /businesses '{"business_id": "harbor", "name": "Harbor Gardening", "email": "hello@harbor.example"}'
customer=$(portico /customers "{\"business_id\": \"harbor\", \"external_id\": \"1\", \"name\": \"Grace Hopper\",
    \"email\": \"$EMAIL\"}" | first customer_id)
portico "/customers/$customer/appointments" \
    '{"appointments": [{"external_id": "a-1", "title": "Spring pruning", "starts_at": "2030-03-01T09:00:00Z"}]}'

# 2. Stripe, as ever: a customer with a card and a subscription.
stripe_customer=$(stripe /v1/customers "name=Grace Hopper" "email=$EMAIL" | first id)
card=$(stripe /v1/payment_methods/pm_card_visa/attach "customer=$stripe_customer" | first id)
product=$(stripe /v1/products "name=Gardening" | first id)
price=$(stripe /v1/prices "product=$product" "currency=usd" "unit_amount=12000" "recurring[interval]=month" | first id)
stripe /v1/subscriptions "customer=$stripe_customer" "default_payment_method=$card" "items[0][price]=$price" >/dev/null

# 3. Your word that the two are the same; from here on Portico watches.
portico "/customers/$customer/stripe_link" "{\"stripe_customer_id\": \"$stripe_customer\"}"
portico "/customers/$customer/link"

# 4. A month later the card is declined (the stand-in's clock is patient: this makes it so now), and Portico writes.
curl --silent --fail --noproxy '*' -X POST "$STRIPE/sandbox/customers/$stripe_customer/decline_next" >/dev/null
curl --silent --fail --noproxy '*' -X POST "$STRIPE/sandbox/customers/$stripe_customer/charge_now" >/dev/null
tries=0
until curl --silent --fail --noproxy '*' "$STRIPE/inbox.json?to=$EMAIL" | grep -q '"subject"'; do
    tries=$((tries + 1))
    test "$tries" -lt 60 || { echo "no email came" >&2; exit 1; }
    sleep 0.5
done
echo
portico "/customers/$customer/payment_state"
portico "/incidents?business_id=harbor&customer_id=$customer"
portico "/events?business_id=harbor&limit=100"
echo "The first email: $(curl --silent --noproxy '*' "$STRIPE/inbox.json?to=$EMAIL" | first subject)"
