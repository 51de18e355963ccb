export { FakeClock, settle } from './clock.js';
export { answer, FakeHttp, FakeSocket, FakeSockets, FakeStream, refusal } from './net.js';
export { SeededRandom } from './random.js';
export { FakeServer } from './server.js';
export { Device, World } from './rig.js';
export { FakeTabs } from './tabs.js';
