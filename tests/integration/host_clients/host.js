// A host application in Node with amqplib, written from docs/integration.md alone.
//
//     AMQP_URI=amqp://… node host.js call EXTERNAL_ID EMAIL STRIPE_ID   # a customer, made and looked up, as JSON
//     AMQP_URI=amqp://… node host.js listen QUEUE                       # the first undeliverable email, as JSON
"use strict";

const amqp = require("amqplib");
const { randomUUID } = require("node:crypto");

const TIMEOUT_MS = 10_000;

class PorticoError extends Error {}

class Portico {
  static async connect(uri) {
    const portico = new Portico();
    portico.waiting = new Map();
    portico.address = randomUUID();
    portico.connection = await amqp.connect(uri);
    const queue = `rpc.reply-host-${portico.address}`;
    const replies = await portico.connection.createChannel();
    await replies.assertQueue(queue, { exclusive: true, durable: false });
    await replies.bindQueue(queue, "amq.topic", portico.address);
    await replies.consume(queue, (message) => portico.answer(message), { noAck: true });
    await portico.open();
    return portico;
  }

  async open() {
    this.calls = await this.connection.createConfirmChannel();
    this.calls.on("return", (message) =>
      this.settle(message.properties.correlationId, new PorticoError(`NotRunning: ${message.fields.routingKey}`)));
    // RabbitMQ closes the channel of a call that it refuses; the answers have a channel of their own.
    this.calls.on("error", (error) => {
      for (const id of this.waiting.keys()) this.settle(id, new PorticoError(`Refused: ${error.code}`));
    });
  }

  answer(message) {
    const { result, error } = JSON.parse(message.content);
    const failure = error && new PorticoError(`${error.exc_type}: ${error.value}`);
    this.settle(message.properties.correlationId, failure, result);
  }

  settle(id, error, result) {
    const call = this.waiting.get(id);
    if (!call) return;
    this.waiting.delete(id);
    clearTimeout(call.timer);
    if (error) call.reject(error);
    else call.resolve(result);
  }

  call(method, kwargs) {
    const id = randomUUID();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.settle(id, new PorticoError(`NoAnswer: ${method}`)), TIMEOUT_MS);
      this.waiting.set(id, { resolve, reject, timer });
      this.calls.publish("amq.topic", method, Buffer.from(JSON.stringify({ args: [], kwargs })), {
        contentType: "application/json; charset=utf-8",
        replyTo: this.address,
        correlationId: id,
        expiration: String(TIMEOUT_MS),
        mandatory: true,
      });
    });
  }

  async refusal(method, kwargs) {
    try {
      await this.call(method, kwargs);
    } catch (error) {
      if (!(error instanceof PorticoError)) throw error;
      if (error.message.startsWith("Refused")) await this.open();
      return error.message;
    }
    return "";
  }
}

async function makeCustomer(uri, externalId, email, stripeId) {
  const portico = await Portico.connect(uri);
  const business = { business_id: "wire", name: "Wire Works" };
  await portico.call("portal.upsert_business", { ...business, color: "#1a7f5a", locale: "de" });
  await portico.call("portal.upsert_business", business); // colour and language stay
  await portico.call("portal.upsert_business", { ...business, color: null }); // the colour goes
  const { customer_id } = await portico.call("portal.upsert_customer", {
    business_id: "wire",
    external_id: externalId,
    name: "Zoë",
    email,
    timezone: "Europe/Vienna",
  });
  const appointment = { external_id: "a-1", title: "Fitting", starts_at: "2026-12-01T14:00:00Z", status: "gone" };
  const refused = [
    await portico.refusal("portal.link_customer", { customer_id, stripe_customer_id: "hello" }),
    await portico.refusal("portal.export_customers", { business_id: "wire" }),
    await portico.refusal("portal.upsert_appointments", { customer_id, appointments: [appointment] }),
  ];
  await portico.call("portal.link_customer", { customer_id, stripe_customer_id: stripeId });
  const link = await portico.call("portal.link", { customer_id });
  const seen = await portico.call("portal.lookup", { token: link.token });
  await portico.connection.close();
  return { customer_id, url: link.url, seen, refused };
}

async function hearUndeliverable(uri, queue) {
  const connection = await amqp.connect(uri);
  let channel;
  for (;;) {
    channel = await connection.createChannel();
    channel.on("error", () => {}); // told by the rejected promise as well
    try {
      await channel.checkExchange("notifier.events");
      break;
    } catch (error) {
      if (error.code !== 404) throw error;
    }
    console.log("waiting");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  await channel.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
  await channel.bindQueue(queue, "notifier.events", "notification.undeliverable");
  console.log("listening");
  await new Promise((resolve) =>
    channel.consume(queue, (message) => {
      console.log(JSON.stringify(JSON.parse(message.content)));
      channel.ack(message);
      resolve();
    }));
  await channel.close();
  await connection.close();
}

async function main([command, ...words]) {
  const uri = process.env.AMQP_URI;
  if (command === "listen") await hearUndeliverable(uri, ...words);
  else console.log(JSON.stringify(await makeCustomer(uri, ...words)));
}

main(process.argv.slice(2));
