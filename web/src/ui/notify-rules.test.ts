import assert from 'node:assert/strict';
import { test } from 'node:test';
import { disturbed, parseNotify } from './notify-rules.js';

function at(time: string): Date {
    return new Date(`2026-03-04T${time}:00`);
}

void test('notify: quiet from one time to the other, over midnight too', () => {
    const s = { ...parseNotify(undefined), quiet: true };
    const night = ['21:59', '22:00', '23:59', '00:00', '06:59', '07:00'].map((x) => disturbed(s, at(x)));
    assert.deepEqual(night, [false, true, true, true, true, false]);
    const noon = { ...s, from: '12:00', to: '13:30' };
    assert.deepEqual(['11:59', '12:00', '13:29', '13:30'].map((x) => disturbed(noon, at(x))), [false, true, true, false]);
    assert.equal(disturbed({ ...s, quiet: false }, at('23:00')), false);
    assert.equal(disturbed({ ...s, to: '22:00' }, at('22:00')), false, 'no time at all');
});

void test('notify: what was kept and does not fit is as at first', () => {
    assert.deepEqual(parseNotify('{"sound":false,"from":"25:00","to":"06:15","more":1}'), {
        on: true, sound: false, preview: true, quiet: false, from: '22:00', to: '06:15',
    });
    for (const broken of ['', '7', 'null', '[', '{"on":"yes"}']) {
        assert.equal(parseNotify(broken).on, true);
    }
});
