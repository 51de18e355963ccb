import assert from 'node:assert/strict';
import { test } from 'node:test';
import jsQR from 'jsqr';
import { qrPath } from './qr.js';

/* The path painted into pixels, as a browser would. */
function paint(path: string, size: number, scale: number): Uint8ClampedArray {
    const side = size * scale;
    const pixels = new Uint8ClampedArray(side * side * 4).fill(255);
    for (const [, x, y, n] of path.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g)) {
        for (let py = Number(y) * scale; py < (Number(y) + 1) * scale; py++) {
            for (let px = Number(x) * scale; px < (Number(x) + Number(n)) * scale; px++) {
                pixels.fill(0, (py * side + px) * 4, (py * side + px) * 4 + 3);
            }
        }
    }
    return pixels;
}

void test('qr: a camera reads the link, short and long', () => {
    for (const link of ['https://chat.example.org/#invite=abc', `https://[2001:db8::1]:8448/chat/#invite=${'x7Qz-'.repeat(30)}`]) {
        const { path, size } = qrPath(link);
        const side = size * 4;
        assert.equal(jsQR(paint(path, size, 4), side, side)?.data, link);
    }
});
