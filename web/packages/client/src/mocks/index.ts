export { FakeClock, settle } from './clock.js';
export { answer, FakeHttp, FakeSocket, FakeSockets, refusal } from './net.js';
export { SeededRandom } from './random.js';
export { FakeServer } from './server.js';
export { Device, World } from './rig.js';
