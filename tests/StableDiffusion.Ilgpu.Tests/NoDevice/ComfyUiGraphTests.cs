using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public sealed class ComfyUiGraphTests
{
    /// <summary>Two passes, a LoRA, clip skip, a text that comes from another node, and a number that is not JSON's.</summary>
    private const string Prompt = """
        {
          "9": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 8, "cfg": 5, "sampler_name": "ddim", "scheduler": "simple", "denoise": 0.5,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["10", 0]}},
          "10": {"class_type": "LatentUpscale", "inputs": {"width": 1024, "height": 1024, "samples": ["3", 0]}},
          "3": {"class_type": "KSampler", "inputs": {"seed": 1125899906842624, "steps": 20, "cfg": 8.0, "sampler_name": "euler_ancestral",
            "scheduler": "normal", "denoise": 1.0, "model": ["11", 0], "positive": ["13", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
          "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned.safetensors"}, "is_changed": [NaN]},
          "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
          "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["14", 0], "clip": ["12", 0]}},
          "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "NaN, text", "clip": ["12", 0]}},
          "11": {"class_type": "LoraLoader", "inputs": {"lora_name": "l", "model": ["4", 0], "clip": ["4", 1]}},
          "12": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["11", 1]}},
          "13": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["15", 0]}},
          "14": {"class_type": "StringConstant", "inputs": {"string": "other"}},
          "15": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat: \"big\"\non a mat", "clip": ["12", 0]}}
        }
        """;

    private const string Workflow = """
        {
          "nodes": [
            {"id": 3, "type": "KSampler", "inputs": [{"name": "model", "link": 1}, {"name": "positive", "link": 4}, {"name": "negative", "link": 6},
              {"name": "latent_image", "link": 2}], "widgets_values": [42, "randomize", 20, 7.5, "dpmpp_2m", "karras", 1]},
            {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["m.safetensors"]},
            {"id": 5, "type": "EmptyLatentImage", "inputs": [], "widgets_values": [64, 128, 1]},
            {"id": 6, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "link": 3}], "widgets_values": ["a cat"]},
            {"id": 7, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "link": 5}], "widgets_values": ["dark"]}
          ],
          "links": [[1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 4, 1, 6, 0, "CLIP"], [4, 6, 0, 3, 1, "CONDITIONING"],
            [5, 4, 1, 7, 0, "CLIP"], [6, 7, 0, 3, 2, "CONDITIONING"]]
        }
        """;

    [Fact]
    public void The_first_pass_of_a_graph_is_read()
    {
        var read = PictureSettings.Find([new("workflow", "{}"), new("prompt", Prompt)])!;
        Assert.Equal(("a cat: \"big\"\non a mat", "NaN, text", "ComfyUI"), (read.Prompt, read.NegativePrompt, read.Source));
        Assert.Equal(
            [
                ("Steps", "20"), ("Sampler", "euler_ancestral"), ("Schedule type", "normal"), ("CFG scale", "8"), ("Seed", "1125899906842624"),
                ("Size", "512x768"), ("Model", "v1-5-pruned.safetensors"), ("Clip skip", "2"), ("RNG", "CPU"), ("Version", "ComfyUI"),
            ],
            read.Settings);
    }

    [Fact]
    public void The_editors_document_is_read_where_there_is_no_other()
    {
        var read = PictureSettings.Find([new("workflow", Workflow)])!;
        Assert.Equal(("a cat", "dark"), (read.Prompt, read.NegativePrompt));
        Assert.Equal(
            [
                ("Steps", "20"), ("Sampler", "dpmpp_2m"), ("Schedule type", "karras"), ("CFG scale", "7.5"), ("Seed", "42"), ("Size", "64x128"),
                ("Model", "m.safetensors"), ("RNG", "CPU"), ("Version", "ComfyUI"),
            ],
            read.Settings);
    }

    [Fact]
    public void Texts_of_webp_files_have_their_names_in_front() =>
        Assert.Equal("20", PictureSettings.Find([new("Make", "Workflow:{}"), new("Model", "Prompt:" + Prompt)])!["Steps"]);

    [Fact]
    public void A_graph_that_leads_in_circles_ends()
    {
        const string circle = """{"1": {"inputs": {"steps": 1, "sampler_name": "x", "positive": ["2", 0], "latent_image": ["1", 0]}}, "2": {"inputs": {"positive": ["2", 0]}}}""";
        Assert.Equal("1", PictureSettings.Find([new("prompt", circle)])!["Steps"]);
    }

    [Fact]
    public void Half_a_surrogate_pair_leaves_no_settings()
    {
        Assert.Null(PictureSettings.Find([new("workflow", """{"nodes": [{"id": "\ud800", "type": "KSampler"}]}""")]));

        // The other text may be sound.
        Assert.Equal("20", PictureSettings.Find([new("prompt", """{"\ud800": {"inputs": {}}}"""), new("workflow", Workflow)])!["Steps"]);
    }

    /// <summary>In squared time neither would end.</summary>
    [Fact]
    public void Graphs_that_are_made_to_take_long_do_not()
    {
        // No mark closes the string: each of them is escaped.
        Assert.Null(PictureSettings.Find([new("prompt", $"{{\"a\": \"{new System.Text.StringBuilder().Insert(0, "\\\"", 10_000_000)}")]));

        // Many samplers lead to one node of many inputs.
        var inputs = string.Join(',', Enumerable.Range(0, 200_000).Select(i => $"\"i{i}\":0"));
        var samplers = string.Join(',', Enumerable.Range(0, 200_000).Select(i => $$"""
            "s{{i}}": {"inputs": {"steps": {{i}}, "sampler_name": "x", "latent_image": ["n", 0]} }
            """));
        Assert.Equal("0", PictureSettings.Find([new("prompt", $$"""{"n": {"inputs": { {{inputs}}, "samples": ["n", 0]} }, {{samplers}} }""")])!["Steps"]);
    }

    [Fact]
    public void Damaged_graphs_are_read_or_left_and_never_fail()
    {
        var random = new Random(14);
        string[] samples = [Prompt, Workflow, """{"1":{"inputs":{"steps":1,"sampler_name":"\ud800","seed":1e999}}}"""];
        for (var i = 0; i < 10_000; i++)
        {
            var text = new System.Text.StringBuilder(samples[i % samples.Length]);
            for (var k = random.Next(4); k > 0; k--)
            {
                var at = random.Next(text.Length);
                _ = random.Next(2) == 0 ? text.Remove(at, Math.Min(random.Next(20), text.Length - at)) : text.Insert(at, "[]{}\":,0-\\"[random.Next(10)]);
            }

            PictureSettings.Find([new(i % 2 == 0 ? "prompt" : "workflow", text.ToString())]);
        }
    }
}
