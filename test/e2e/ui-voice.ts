/** Owns the tests of images and voice in the prompt box, which share the stack and the browser of a session's page. */

import { describe, expect, it } from "vitest";
import { audioTypeOf, wavSeconds } from "../../sdk/protocol/index.ts";
import { steps } from "../support/agents.ts";
import { violationsOf, type Dashboard } from "../support/dashboard.ts";
import { eventually } from "../support/eventually.ts";
import { noisePng } from "../support/images.ts";
import type { Scene } from "../support/scene.ts";
import type { TranscriptionServer } from "../support/transcription-server.ts";

/** A microphone that hears beeps, and a person who lets the page use it. */
export const MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const BOX = 'document.querySelector("textarea[aria-label=Prompt]")';

export interface Heard {
  scene: Scene;
  dashboard: Dashboard;
  /** Understands "into the box", whatever is said. */
  server: TranscriptionServer;
}

/** `the`: what is there once the tests run. */
export function imagesAndVoice(the: () => Heard): void {
  describe("images and voice in the prompt box", () => {
    it("sends an image that was chosen and one that was pasted, without the one that was taken back, and shows them in the transcript", async () => {
      const { scene, dashboard } = the();
      const session = await scene.session();
      const page = await dashboard.visit(`/sessions/${session.id}`);
      const shot = (name: string) => ({ name, mimeType: "image/png", buffer: Buffer.from(noisePng(32)) });
      await page.getByLabel("Images", { exact: true }).setInputFiles([shot("one.png"), shot("two.png"), { name: "fake.png", mimeType: "image/png", buffer: Buffer.from("a text") }]);
      await page.getByText("fake.png is no PNG, JPEG, GIF or WebP image").waitFor();
      const strip = page.getByRole("list", { name: "Images to send" });
      await strip.getByRole("button", { name: "Remove two.png" }).click();
      const pasted = Buffer.from(noisePng(32)).toString("base64");
      await page.evaluate(`(() => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob("${pasted}"), (char) => char.charCodeAt(0))], "pasted.png", { type: "image/png" }));
        ${BOX}.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
      })()`);
      await strip.getByRole("img", { name: "pasted.png" }).waitFor();
      expect(await violationsOf(page)).toEqual([]);
      await page.getByLabel("Prompt").fill(steps(["attachments"]));
      await page.getByRole("button", { name: "Send" }).click();
      const shown = page.getByRole("list", { name: "Images of this task" });
      await shown.getByRole("button", { name: "Show one.png large" }).click();
      await page.getByRole("dialog", { name: "one.png" }).getByRole("img").waitFor();
      await page.keyboard.press("Escape");
      const [task] = (await scene.client.tasks.list({ session_id: session.id })).items;
      expect(task?.attachments?.map(({ name }) => name)).toEqual(["one.png", "pasted.png"]);
      expect(await strip.count()).toBe(0);
    });

    it("puts what was said while the button was held into the prompt at the cursor", async () => {
      const { scene, dashboard, server } = the();
      const session = await scene.session();
      const page = await dashboard.visit(`/sessions/${session.id}`);
      await page.getByLabel("Prompt").fill("Put it please");
      await page.evaluate(`${BOX}.setSelectionRange(6, 6)`);
      const talk = page.getByRole("button", { name: "Hold to talk" });
      // Where it is once the page stands still.
      await talk.hover();
      await page.mouse.down();
      await page.getByRole("button", { name: "Listening; let go to stop" }).waitFor();
      await page.waitForTimeout(1_200);
      await page.mouse.up();
      await expect.poll(() => page.getByLabel("Prompt").inputValue()).toBe("Put it into the box please");
      const heard = server.heard.at(-1);
      expect(heard).toMatchObject({ language: "en", name: "audio.wav" });
      expect([audioTypeOf(heard?.file ?? new Uint8Array()), (wavSeconds(heard?.file ?? new Uint8Array()) ?? 0) > 0.8]).toEqual(["audio/wav", true]);
    });

    it("is held with the keyboard too, and sends at once where that is wanted", async () => {
      const { scene, dashboard } = the();
      const session = await scene.session();
      const settings = await dashboard.visit("/settings/voice");
      await settings.getByText("Ready").waitFor();
      expect(await violationsOf(settings)).toEqual([]);
      await settings.getByLabel("Send what was said at once").check();
      const page = await dashboard.beside(settings);
      await page.goto(`${scene.stack.url}/sessions/${session.id}`);
      await page.getByRole("button", { name: "Hold to talk" }).focus();
      await page.keyboard.down("Space");
      await page.getByRole("button", { name: "Listening; let go to stop" }).waitFor();
      await page.waitForTimeout(800);
      await page.keyboard.up("Space");
      const task = await eventually("the task is made", async () => (await scene.client.tasks.list({ session_id: session.id })).items[0]);
      expect((await scene.client.tasks.get(task.id)).prompt).toBe("into the box");
    });

    it("says how to get an engine where there is none", async () => {
      const { scene, dashboard } = the();
      const page = await dashboard.visit("/");
      const status = { available: false, engine: null, language: null, host: null, hint: "No host that is online has an engine. Install whisper.cpp", auto_send: false, silence_threshold_ms: 0 };
      await page.route("**/api/v1/voice/status", (route) => route.fulfill({ json: status }));
      await page.getByRole("link", { name: "Settings" }).click();
      await page.getByRole("link", { name: "Voice" }).click();
      await page.getByText("No engine", { exact: true }).waitFor();
      await page.getByText("Install whisper.cpp").waitFor();
      expect(await violationsOf(page)).toEqual([]);
      const session = await scene.session();
      await page.goto(`${scene.stack.url}/sessions/${session.id}`);
      await page.getByRole("button", { name: "Voice: no engine; how to get one" }).click();
      await page.getByRole("status").getByText("Voice: No host that is online has an engine").waitFor();
      expect(await violationsOf(page)).toEqual([]);
    });
  });
}
