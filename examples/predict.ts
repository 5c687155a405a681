/** Asks a trained model about pictures, all at once: node predict.ts RUN PROBLEM PICTURE... */
import { loadPolicy, predict } from 'visurf';

const [run = 'runs/cars', problem = 'the red car', ...pictures] = process.argv.slice(2);
using policy = await loadPolicy(run);
const answers = await Promise.all(pictures.map((picture) => predict(policy, { problem, images: [picture] })));
for (const [i, { boxes }] of answers.entries()) console.log(JSON.stringify({ picture: pictures[i], boxes }));
