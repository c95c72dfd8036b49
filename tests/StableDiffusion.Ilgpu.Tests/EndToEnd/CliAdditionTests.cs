using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>LoRAs, textual inversion and TAESD through the command line, with the bundled model.</summary>
public sealed class CliAdditionTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    [Fact]
    public void A_lora_changes_the_picture_by_option_and_by_prompt_alike()
    {
        Directory.CreateDirectory(folder["loras"]);
        var lora = WriteLora("loras/bold.safetensors");
        var plain = Draw("plain.png", "-p", "a cat");
        var option = Draw("option.png", "-p", "a cat", "--lora", $"{lora}:0.5");
        var prompt = Draw("prompt.png", "-p", "a cat<lora:bold:0.5>", "--lora-dir", folder["loras"]);
        var negative = Draw("negative.png", "-p", "a cat", "-n", "<lora:bold:0.5>", "--lora-dir", folder["loras"]);
        Assert.NotEqual(plain.Pixels, option.Pixels);
        Assert.Equal(option.Pixels, prompt.Pixels);
        Assert.Equal(option.Pixels, negative.Pixels);
        Assert.Equal(plain.Pixels, Draw("off.png", "-p", "a cat", "--lora", $"{lora}:0").Pixels);
        var both = Draw("both.png", "-p", "a cat<lora:bold:0.25>", "--lora-dir", folder["loras"], "--lora", $"{lora}:0.5");
        Assert.NotEqual(option.Pixels, both.Pixels);
        Assert.Matches(@"Lora hashes: ""bold: [0-9a-f]{12}""", both.Text("parameters"));

        // The file is named as the web UI names it, and repeating the picture has no line about that.
        Assert.Matches(@"Lora hashes: ""bold: [0-9a-f]{12}""", option.Text("parameters"));
        Assert.DoesNotContain("Lora hashes", plain.Text("parameters"), StringComparison.Ordinal);
        var again = CliRun.InProcess("txt2img", "--from", folder["option.png"], "--lora", $"{lora}:0.5", "-o", folder["again.png"]);
        Assert.DoesNotContain("Lora hashes", again.Output + again.Error, StringComparison.Ordinal);

        // The text keeps the prompt as it was written.
        Assert.StartsWith("a cat<lora:bold:0.5>\n", prompt.Text("parameters"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_prompt_may_name_a_lora_as_its_trainer_did()
    {
        Directory.CreateDirectory(folder["loras"]);
        var lora = WriteLora("loras/bold_v3.safetensors", trained: "bold");
        var option = Draw("option.png", "-p", "a cat", "--lora", $"{lora}:0.5");
        var prompt = Draw("prompt.png", "-p", "a cat<lora:bold:0.5>", "--lora-dir", folder["loras"]);
        Assert.Equal(option.Pixels, prompt.Pixels);
        Assert.Matches(@"Lora hashes: ""bold_v3: [0-9a-f]{12}""", prompt.Text("parameters"));

        // Pictures of the web UI list the name that their prompt has.
        using var model = LoadedModel.Open(new ModelOptions { Loras = [lora] });
        Assert.Equal(["bold_v3", "bold"], model.Additions.Loras);
    }

    /// <summary>The file changes the UNet alone.</summary>
    [Fact]
    public void A_prompt_scales_text_encoder_and_unet()
    {
        Directory.CreateDirectory(folder["loras/bold"]);
        var lora = WriteLora("loras/bold/bold.safetensors");
        var option = Draw("option.png", "-p", "a cat", "--lora", $"{lora}:0.5");
        Assert.Equal(option.Pixels, Draw("two.png", "-p", "a cat", "--lora", $"{lora}:0:0.5").Pixels);
        var prompt = Draw("prompt.png", "-p", "a cat<lyco:bold:0:unet=0.5>", "--lora-dir", folder["loras"]);
        Assert.Equal(option.Pixels, prompt.Pixels);
        Assert.Equal(Draw("plain.png", "-p", "a cat").Pixels, Draw("off.png", "-p", "a cat<lora:bold:0.5:0>", "--lora-dir", folder["loras"]).Pixels);

        // The text keeps the prompt as it was written, so it can be repeated.
        Assert.StartsWith("a cat<lyco:bold:0:unet=0.5>\n", prompt.Text("parameters"), StringComparison.Ordinal);
        Assert.Matches(@"Lora hashes: ""bold: [0-9a-f]{12}""", prompt.Text("parameters"));
        Assert.Equal(option.Pixels, Draw("again.png", "--from", folder["prompt.png"], "--lora-dir", folder["loras"]).Pixels);
    }

    /// <summary>A converted model has the LoRA in its weights: fp32 files, so that nothing is rounded on the way that is not rounded without.</summary>
    [Fact]
    public void Convert_merges_loras()
    {
        var lora = WriteLora("bold.safetensors");
        var run = CliRun.InProcess("convert", "-o", folder["merged"], "--type", "fp32", "--lora", $"{lora}:0.5");
        Assert.Equal((0, ""), (run.Exit, run.Error));
        var merged = Draw("merged.png", "-p", "a cat", "-m", folder["merged"]);
        Assert.Equal(Draw("option.png", "-p", "a cat", "--lora", $"{lora}:0.5").Pixels, merged.Pixels);
        Assert.NotEqual(Draw("plain.png", "-p", "a cat").Pixels, merged.Pixels);
    }

    [Fact]
    public void Inspect_takes_additions()
    {
        var lora = WriteLora("bold.safetensors");
        Assert.Equal(0, CliRun.InProcess("inspect", "--lora", lora).Exit);
        var refused = CliRun.InProcess("inspect", "--lora", folder["none.safetensors"]);
        Assert.Equal(1, refused.Exit);
        Assert.Contains("none.safetensors", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_lora_holds_without_effect_is_told()
    {
        var lora = WriteLora("bold.safetensors", "lora_unet_nothing.lora_up.weight");
        string[] arguments = ["txt2img", "-p", "cat", "--steps", "1", "-o", folder["a.png"], "--lora", lora];
        var run = CliRun.InProcess(arguments);
        Assert.Equal((0, "", 2), (run.Exit, run.Error, run.Lines.Length));
        Assert.Equal("lora bold at 1 changes 1 tensors; 1 of its own have no effect on this model (-v lists them)", run.Lines[0]);
        Assert.Contains("  lora_unet_nothing.lora_up.weight", CliRun.InProcess([.. arguments, "-v"]).Lines);
        foreach (var other in new string[][] { ["inspect"], ["convert", "-o", folder["a.safetensors"]] })
        {
            Assert.Contains(run.Lines[0], CliRun.InProcess([.. other, "--lora", lora]).Lines);
            Assert.Contains("  lora_unet_nothing.lora_up.weight", CliRun.InProcess([.. other, "--lora", lora, "-v"]).Lines);
        }
    }

    [Fact]
    public void An_embedding_is_a_word()
    {
        using var model = LoadedModel.Open((string?)null);
        var random = new Random(1);
        var vectors = Enumerable.Range(0, 2 * model.TextConfig.Hidden)
            .Select(_ => (float)(0.05 * ((2 * random.NextDouble()) - 1))).ToArray();
        var file = new TensorFiles().Add("emb_params", [2, model.TextConfig.Hidden], vectors).Write(folder["my-style.safetensors"]);
        var plain = Draw("plain.png", "-p", "a cat, My-Style");
        var learned = Draw("learned.png", "-p", "a cat, My-Style", "--embedding", file);
        Assert.NotEqual(plain.Pixels, learned.Pixels);
        var unused = Draw("unused.png", "-p", "a cats-my-styled", "--embedding", file);
        Assert.Equal(Draw("without.png", "-p", "a cats-my-styled").Pixels, unused.Pixels);

        // The web UI's name for a file that the prompt uses: the hash of all of it.
        Assert.Contains($"TI hashes: \"my-style: {PullServer.Sha256(File.ReadAllBytes(file))[..12]}\"", learned.Text("parameters"), StringComparison.Ordinal);
        Assert.DoesNotContain("TI hashes", unused.Text("parameters"), StringComparison.Ordinal);
        string[] repeat = ["txt2img", "--from", folder["learned.png"], "-o", folder["again.png"]];
        Assert.Contains("not repeated: TI hashes", CliRun.InProcess(repeat).Lines);
        Assert.DoesNotContain("not repeated", CliRun.InProcess([.. repeat, "--embedding", file]).Output, StringComparison.Ordinal);
    }

    /// <summary>Arguments, and what the line must contain.</summary>
    public static TheoryData<string[], string[]> BadInput => new()
    {
        { ["--lora", "/no/such.safetensors"], ["/no/such.safetensors"] },
        { ["--lora", "/no/such.safetensors:0.5"], ["/no/such.safetensors"] },
        { ["--lora", "a:NaN"], ["'a:NaN'"] },
        { ["-n", "<lora:x>"], ["'x'", "--lora-dir"] },
        { ["-n", "<lora:x>", "--lora-dir", "/no/such"], ["/no/such"] },
        { ["-n", "<lora:x:y>"], ["'<lora:x:y>'"] },
        { ["--embedding", "/no/such.pt"], ["/no/such.pt"] },
        { ["--taesd", "/no/such.safetensors"], ["/no/such.safetensors"] },
    };

    [Theory]
    [MemberData(nameof(BadInput))]
    public void Bad_input_gives_one_clear_line_and_no_file(string[] arguments, string[] parts)
    {
        CliRun.InProcess(["txt2img", "-p", "x", "-o", folder["a.png"], .. arguments]).AssertFailed(1, parts);
        Assert.Empty(folder.Entries);
    }

    [Fact]
    public void A_pipeline_refuses_a_lora_that_it_was_not_loaded_with()
    {
        var options = new ModelOptions { Loras = [WriteLora("bold.safetensors")] };
        using var pipeline = StableDiffusionPipeline.Load(options, null, TestContext.Current.CancellationToken);
        var request = new GenerationRequest { Prompt = "x <lora:bold:1>", Steps = 1 };
        Assert.Single(pipeline.Generate(request, null, TestContext.Current.CancellationToken));
        foreach (var tag in new[] { "<lora:bold:0.5>", "<lora:other:1>" })
        {
            var e = Assert.Throws<StableDiffusionException>(
                () => pipeline.Generate(request with { Prompt = tag }, null, TestContext.Current.CancellationToken));
            Assert.Contains("was not loaded with", e.Message, StringComparison.Ordinal);
        }
    }

    public void Dispose() => folder.Dispose();

    /// <summary>A LoRA that adds a constant to the UNet's first convolution.</summary>
    private string WriteLora(string name, string? unknown = null, string? trained = null)
    {
        using var model = LoadedModel.Open((string?)null);
        var (rows, channels) = (model.UNetConfig.Channels[0], model.UNetConfig.InChannels);
        var file = new TensorFiles()
            .Add("lora_unet_conv_in.lora_up.weight", [rows, 1, 1, 1], [.. Enumerable.Repeat(0.1f, rows)])
            .Add("lora_unet_conv_in.lora_down.weight", [1, channels, 3, 3], [.. Enumerable.Repeat(0.2f, channels * 9)]);
        return (unknown is null ? file : file.Add(unknown, [1, 1], [1])).Write(
            folder[name], trained is null ? null : new Dictionary<string, string> { ["ss_output_name"] = trained });
    }

    private PngFile Draw(string file, params string[] arguments)
    {
        var run = CliRun.InProcess(["txt2img", "--steps", "2", "-o", folder[file], .. arguments]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        return PngFile.Read(folder[file]);
    }
}
