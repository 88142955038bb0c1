import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RunClock } from "./clock.ts";

describe("a run's clock", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  it("fires once, when its time has passed", () => {
    const fire = vi.fn();
    const clock = new RunClock(1_000, fire);
    vi.advanceTimersByTime(999);
    expect(fire).not.toHaveBeenCalled();
    vi.advanceTimersByTime(10_000);
    expect(fire).toHaveBeenCalledTimes(1);
    clock.end();
  });
  it("stands still while anything stops it, and goes on with what is left", () => {
    const fire = vi.fn();
    const clock = new RunClock(1_000, fire);
    vi.advanceTimersByTime(600);
    clock.stop("asked");
    clock.stop("frozen");
    clock.stop("asked");
    vi.advanceTimersByTime(86_400_000);
    clock.go("asked");
    vi.advanceTimersByTime(10_000);
    clock.go("never stopped it");
    expect(fire).not.toHaveBeenCalled();
    clock.go("frozen");
    vi.advanceTimersByTime(399);
    expect(fire).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(fire).toHaveBeenCalledTimes(1);
  });
  it("never fires after its end", () => {
    const fire = vi.fn();
    const clock = new RunClock(10, fire);
    clock.end();
    clock.go("it has ended a second time");
    vi.advanceTimersByTime(1_000);
    expect(fire).not.toHaveBeenCalled();
  });
});
