// How a business's own software talks to Portico over HTTP: plain Node (18 or later), nothing to install.
//
// Copy it, or read it and write your own; docs/openapi-v1.yaml is the API, docs/integration.md tells the story.
//
//     make run                             # in another terminal; it makes a key
//     node examples/http_client.mjs        # makes a business, a customer and an appointment, prints the customer's link and what happened
//
// PORTICO_API and PORTICO_KEY can be set; else it looks where `make run` is, by API_PORT and PORTICO_VAR.

import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const TRIES = 4;

// Portico refused; `code` is for programs, such as `invalid_argument`, `fields` says which are wrong.
export class PorticoError extends Error {
  constructor(status, problem) {
    super(`${status} ${problem.code}: ${problem.detail}`);
    this.status = status;
    this.code = problem.code;
    this.fields = Object.fromEntries((problem.errors ?? []).map((one) => [one.field, one.detail]));
  }
}

// The API with one key.
export class Portico {
  #api;
  #key;
  #timeout;

  constructor(api, key, timeout = 10_000) {
    this.#api = api.replace(/\/+$/, "");
    this.#key = key;
    this.#timeout = timeout;
  }

  get(path, query = {}) {
    const given = new URLSearchParams(query).toString();
    return this.#send("GET", given ? `${path}?${given}` : path);
  }

  // Sent again after a lost answer it is done once: each call has a word of its own.
  post(path, body = {}) {
    return this.#send("POST", path, body);
  }

  delete(path) {
    return this.#send("DELETE", path);
  }

  // Everything in a list, page by page; `idOf` names the field that the next page begins after.
  async *all(path, idOf, query = {}) {
    for (let more = {}; ; ) {
      const page = await this.get(path, { ...query, ...more, limit: 100 });
      yield* page.data;
      if (!page.has_more) return;
      more = { starting_after: page.data.at(-1)[idOf] };
    }
  }

  // What happened since a cursor that you keep (null: everything that is kept): [events, the next cursor].
  async events(since = null) {
    const found = [];
    for (;;) {
      const page = await this.get("/events", { limit: 100, ...(since === null ? {} : { since }) });
      found.push(...page.data);
      since = page.next;
      if (!page.has_more) return [found, since];
    }
  }

  // Again where the answer was lost or says when to come back.
  async #send(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#key}`, "Idempotency-Key": randomUUID() };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    for (let left = TRIES - 1; ; left -= 1) {
      let answer, told;
      try {
        answer = await fetch(this.#api + path, {
          method,
          headers,
          body: body === undefined ? undefined : JSON.stringify(body),
          signal: AbortSignal.timeout(this.#timeout),
        });
        told = await answer.json();
      } catch (error) {
        if (left === 0) throw error;
        await sleep(500);
        continue;
      }
      if (answer.ok) return told;
      const seconds = answer.headers.get("Retry-After");
      if (left === 0 || seconds === null) throw new PorticoError(answer.status, told);
      await sleep(Number(seconds) * 1000);
    }
  }
}

// Make a little of everything; running it again changes nothing.
async function main() {
  const { API_PORT = "8003", PORTICO_VAR = "var" } = process.env;
  const api = process.env.PORTICO_API ?? `http://127.0.0.1:${API_PORT}/api/v1`;
  const file = `${PORTICO_VAR}/api.key`;
  const key = process.env.PORTICO_KEY ?? (existsSync(file) ? readFileSync(file, "utf8").trim() : "");
  if (!key) {
    console.error(
      `no key in ${file}: start "make run" first, in this folder, or set PORTICO_KEY to a key of "portico keys create"`,
    );
    return 2;
  }
  try {
    await makeData(new Portico(api, key));
  } catch (error) {
    const told = error.cause?.message ?? error.message;
    console.error(`${api}: ${told}${error instanceof PorticoError ? "" : '. Is "make run" running there?'}`);
    return 1;
  }
  return 0;
}

// A business, a customer, an appointment; prints the customer's link and what happened.
async function makeData(portico) {
  await portico.post("/businesses", { business_id: "orchard", name: "Orchard Tutors" });
  const customer = await portico.post("/customers", {
    business_id: "orchard",
    external_id: "1",
    name: "Ada Lovelace",
    email: "ada@example.com",
    platform_stripe_customer_id: "cus_OrchardAda",
  });
  const lesson = { external_id: "a-1", title: "Algebra", starts_at: "2030-03-01T09:00:00Z" };
  await portico.post(`/customers/${customer.customer_id}/appointments`, { appointments: [lesson] });
  console.log((await portico.get(`/customers/${customer.customer_id}/link`)).url);
  const [events] = await portico.events();
  const ours = events.filter((one) => one.customer_id === customer.customer_id);
  console.log(ours.map((one) => one.type).join("\n"));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
