// What @huggingface/inference makes of two servers, one of them with keys: one JSON object.

import { createRequire } from "node:module";

// the packages lie in the working folder, not beside this file
const require = createRequire(`${process.cwd()}/`);
const inference = require("@huggingface/inference");
const { version } = require("./node_modules/@huggingface/inference/package.json");

const task = JSON.parse(process.argv[2]);
const { text, texts } = task;
const client = new inference.InferenceClient();
const of = (model) => `${task.open}/models/${model}`;

const withKey = (key) => new inference.InferenceClient(key).textClassification({ endpointUrl: task.closed, inputs: text });

async function raised(ask) {
  try {
    return { answered: await ask() };
  } catch (error) {
    const { message, httpResponse } = error;
    const kind = Object.keys(inference).find((name) => inference[name] === error.constructor);
    return { kind, told: message, status: httpResponse?.status, body: httpResponse?.body };
  }
}

const found = {
  version,
  string: await client.textClassification({ endpointUrl: task.open, inputs: text }),
  top_k: await client.textClassification({ endpointUrl: of("emotion"), inputs: text, parameters: { top_k: 2 } }),
  endpoint: await client.endpoint(of("tonewise/emotion")).textClassification({ inputs: text }),
  vectors: await client.featureExtraction({ endpointUrl: of("tonewise/base"), inputs: texts }),
  vector: await client.featureExtraction({ endpointUrl: of("base"), inputs: text }),
  similarity: await client.sentenceSimilarity({
    endpointUrl: of("base"),
    inputs: { source_sentence: text, sentences: texts },
  }),
  predict: await raised(() => client.textClassification({ endpointUrl: `${task.open}/predict`, inputs: text })),
  "right key": await withKey(task.key),
  "wrong key": await raised(() => withKey("tw_wrong")),
  "no model": await raised(() => client.textClassification({ endpointUrl: of("nobody/none"), inputs: text })),
};
console.log(JSON.stringify(found));
