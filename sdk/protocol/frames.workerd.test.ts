import { framesAreParsed } from "../../test/conformance/frames.ts";

framesAreParsed();
