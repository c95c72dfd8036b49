using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>Prompt syntax and files of prompts through the command line, with the bundled model.</summary>
public sealed class CliPromptTests : IDisposable
{
    private const string LongPrompt = "a red apple on a white background, ";

    private readonly TemporaryFolder folder = new();

    [Fact]
    public void Weights_editing_and_length_change_the_picture_and_repeat()
    {
        var prompts = new[]
        {
            "a red apple", "a (red:1.5) apple", "a [red:green:0.5] apple", "a [red|green] apple", "a red BREAK apple",
            string.Concat(Enumerable.Repeat(LongPrompt, 15)),
        };
        var pictures = prompts.Select((p, i) => Draw($"{i}.png", "-p", p, "--steps", "4")).ToArray();
        Assert.Equal(prompts.Length, pictures.Select(p => Convert.ToHexString(p.Pixels)).Distinct().Count());
        for (var i = 0; i < prompts.Length; i++)
        {
            Draw($"again.png", "-p", prompts[i], "--steps", "4");
            Assert.Equal(File.ReadAllBytes(folder[$"{i}.png"]), File.ReadAllBytes(folder["again.png"]));
        }

        // What stands behind the 75th token counts.
        Assert.NotEqual(pictures[^1].Pixels, Draw("longer.png", "-p", prompts[^1] + "green", "--steps", "4").Pixels);
    }

    [Fact]
    public void The_metadata_keep_the_prompt_and_name_what_is_not_usual()
    {
        const string prompt = "a (red:1.5) [apple:pear:0.5]";
        var usual = Draw("usual.png", "-p", prompt);
        Assert.StartsWith($"{prompt}\n", usual.Text("parameters"), StringComparison.Ordinal);
        Assert.DoesNotContain("Clip skip", usual.Text("parameters"), StringComparison.Ordinal);
        Assert.DoesNotContain("Emphasis", usual.Text("parameters"), StringComparison.Ordinal);
        Draw("one.png", "-p", prompt, "--clip-skip", "1", "--prompt-weighting", "a1111");
        Assert.Equal(File.ReadAllBytes(folder["usual.png"]), File.ReadAllBytes(folder["one.png"]));

        var skipped = Draw("skipped.png", "-p", prompt, "--clip-skip", "2", "--prompt-weighting", "plain");
        Assert.NotEqual(usual.Pixels, skipped.Pixels);
        Assert.Contains(", Clip skip: 2, ", skipped.Text("parameters"), StringComparison.Ordinal);
        Assert.Contains(", Emphasis: No norm, ", skipped.Text("parameters"), StringComparison.Ordinal);
        Assert.Contains(
            ", Emphasis: None, ", Draw("none.png", "-p", prompt, "--prompt-weighting", "none").Text("parameters"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_of_prompts_draws_each_line()
    {
        File.WriteAllText(folder["prompts.txt"], "a cat\r\n\r\n  \n  a dog \n日本", System.Text.Encoding.UTF8);
        var run = CliRun.InProcess("txt2img", "--prompt-file", folder["prompts.txt"], "-b", "2", "--steps", "1", "-o", folder["p%02d.png"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Equal(["p00.png", "p01.png", "p02.png", "p03.png", "p04.png", "p05.png", "prompts.txt"], folder.Entries);
        string[] prompts = ["a cat", "a cat", "a dog", "a dog", "日本", "日本"];
        for (var i = 0; i < prompts.Length; i++)
        {
            Draw("alone.png", "-p", prompts[i], "-s", $"{42 + (i % 2)}", "--steps", "1");
            Assert.Equal(File.ReadAllBytes(folder["alone.png"]), File.ReadAllBytes(folder[$"p0{i}.png"]));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_file_of_prompts_may_begin_with_the_mark_of_its_encoding(bool isUtf16)
    {
        File.WriteAllText(folder["prompts.txt"], "日本\r\n", isUtf16 ? System.Text.Encoding.Unicode : System.Text.Encoding.UTF8);
        var run = CliRun.InProcess("txt2img", "--prompt-file", folder["prompts.txt"], "--steps", "1", "-o", folder["a.png"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.StartsWith("日本\n", PngFile.Read(folder["a.png"]).Text("parameters"), StringComparison.Ordinal);
    }

    [Fact]
    public void Lines_with_different_loras_each_get_theirs()
    {
        Directory.CreateDirectory(folder["loras"]);
        WriteLora("loras/bold.safetensors");
        File.WriteAllText(folder["prompts.txt"], "a cat\na cat<lora:bold:0.5>\na cat");
        var run = CliRun.InProcess(
            "txt2img", "--prompt-file", folder["prompts.txt"], "--lora-dir", folder["loras"], "--steps", "1", "-o", folder["p.png"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        var pictures = Enumerable.Range(0, 3).Select(i => PngFile.Read(folder[$"p_{i}.png"]).Pixels).ToArray();
        Assert.Equal(pictures[0], pictures[2]);
        Assert.NotEqual(pictures[0], pictures[1]);
        Assert.Equal(pictures[1], Draw("alone.png", "-p", "a cat<lora:bold:0.5>", "--lora-dir", folder["loras"], "--steps", "1").Pixels);
    }

    /// <summary>The file of prompts, further arguments, the exit code and what the line must contain.</summary>
    public static TheoryData<byte[]?, string[], int, string[]> BadInput => new()
    {
        { null, [], 1, ["prompts.txt: cannot be read"] },
        { [], [], 1, ["prompts.txt: holds no prompt", "one a line"] },
        { " \n\t\n"u8.ToArray(), [], 1, ["prompts.txt: holds no prompt"] },
        { "a cat\n\nb \u00e9\n"u8.ToArray()[..^2], [], 1, ["prompts.txt, line 3", "UTF-8"] },
        { "a cat\n<lora:x:1>"u8.ToArray(), [], 1, ["prompts.txt, line 2: ", "'x'", "--lora-dir"] },
        { "a cat\n<lora:x"u8.ToArray(), [], 1, ["prompts.txt, line 2: ", "'<lora:x'"] },
        { "a cat"u8.ToArray(), ["-p", "x"], 2, ["--prompt", "--prompt-file"] },
        { "a cat"u8.ToArray(), ["--lora", "a:NaN"], 1, ["error: LoRA 'a:NaN'"] },
        { "a cat"u8.ToArray(), ["--prompt-weighting", "heavy"], 2, ["\"heavy\"", "a1111, plain, none"] },
        { "a cat"u8.ToArray(), ["--clip-skip", "99"], 1, ["clip skip 99", "1 …"] },
        { "a cat"u8.ToArray(), ["--clip-skip", "two"], 2, ["--clip-skip 'two'"] },
    };

    [Theory]
    [MemberData(nameof(BadInput))]
    public void Bad_input_gives_one_clear_line_and_no_file(byte[]? prompts, string[] arguments, int exit, string[] parts)
    {
        if (prompts is not null)
        {
            File.WriteAllBytes(folder["prompts.txt"], prompts);
        }

        CliRun.InProcess(["txt2img", "--prompt-file", folder["prompts.txt"], "-o", folder["a.png"], .. arguments]).AssertFailed(exit, parts);
        Assert.DoesNotContain(folder.Entries, e => e != "prompts.txt");
    }

    public void Dispose() => folder.Dispose();

    /// <summary>A LoRA that adds a constant to the UNet's first convolution.</summary>
    private void WriteLora(string name)
    {
        using var model = LoadedModel.Open((string?)null);
        var (rows, channels) = (model.UNetConfig.Channels[0], model.UNetConfig.InChannels);
        new TensorFiles()
            .Add("lora_unet_conv_in.lora_up.weight", [rows, 1, 1, 1], [.. Enumerable.Repeat(0.1f, rows)])
            .Add("lora_unet_conv_in.lora_down.weight", [1, channels, 3, 3], [.. Enumerable.Repeat(0.2f, channels * 9)])
            .Write(folder[name]);
    }

    private PngFile Draw(string file, params string[] arguments)
    {
        string[] steps = arguments.Contains("--steps") ? [] : ["--steps", "2"];
        var run = CliRun.InProcess(["txt2img", "-o", folder[file], .. steps, .. arguments]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        return PngFile.Read(folder[file]);
    }
}
