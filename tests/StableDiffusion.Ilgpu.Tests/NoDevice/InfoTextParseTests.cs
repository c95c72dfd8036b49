using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The text of pictures, read back.</summary>
public sealed class InfoTextParseTests
{
    private const int RandomTexts = 100_000;

    private static readonly string[] Pieces =
    [
        "a cat", "Negative prompt:", "Negative prompt: ", "Steps: 20, Sampler: Euler, Seed: 1", "Steps: 20", "\n", "\n", " ", ", ", ": ", "\"", "\\", "\\n",
        "(x:1.3)", "Exact prompt: \"q\"", "SDCPP: {\"a\":[1,2]}", ", SDCPP: {", "é", "猫", "🐱", "\t", "\r", "\u0085", "\u2028", "}", "-", "key-1/2",
    ];

    [Fact]
    public void A_picture_of_the_web_ui()
    {
        var read = InfoText.Parse(
            "a cat, (sitting:1.2)\non a mat\nNegative prompt: blurry,\ndark\n"
            + "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 965400086, Size: 512x768, Model hash: 45dee52b7c, "
            + "Model: sd-v1-4, Lora hashes: \"a: 1f, b: 2e\", Hires prompt: \"x\\ny \\\"z\\\"\", Version: v1.10.1");
        Assert.Equal(("a cat, (sitting:1.2)\non a mat", "blurry,\ndark", "AUTOMATIC1111"), (read.Prompt, read.NegativePrompt, read.Source));
        Assert.Equal(
            ["Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "Lora hashes", "Hires prompt", "Version"],
            read.Settings.Select(s => s.Key));
        Assert.Equal(("965400086", "a: 1f, b: 2e", "x\ny \"z\""), (read["Seed"], read["Lora hashes"], read["Hires prompt"]));
    }

    [Fact]
    public void A_picture_of_stable_diffusion_cpp()
    {
        const string json = """{"schema":"sdcpp.image.params/v1","seed":42,"list":[1,2],"text":"a, b: c"}""";
        var read = InfoText.Parse(
            "a lovely cat\nSteps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: 0.000000, Seed: 42, Size: 512x512, Model: sd-v1-4.ckpt, "
            + $"RNG: cuda, Sampler: euler_a karras, Version: stable-diffusion.cpp, SDCPP: {json}");
        Assert.Equal(("a lovely cat", "", "stable-diffusion.cpp"), (read.Prompt, read.NegativePrompt, read.Source));
        Assert.Equal(("7.000000", "euler_a karras", json), (read["CFG scale"], read["Sampler"], read["SDCPP"]));
        Assert.Equal(11, read.Settings.Count);
        AssertSame(read, InfoText.Parse(Write(read)));
    }

    [Theory]
    [InlineData("", "", "", 0)]
    [InlineData("a cat", "a cat", "", 0)]
    [InlineData("a cat\nSteps: up, Mood: good", "a cat\nSteps: up, Mood: good", "", 0)]
    [InlineData("Negative prompt: dark", "", "dark", 0)]
    [InlineData("a\nNegative prompt:dark\nSteps: 1, Seed: 2, Size: 8x8", "a", "dark", 3)]
    [InlineData("Steps: 1, Seed: , Size: 8x8,", "", "", 3)]
    [InlineData("a\nSteps: 1, Seed: \"2, Size: 8x8, Model: \"m\"n, Odd: \"x\" ", "a", "", 5)]
    public void Texts_with_parts_missing(string text, string prompt, string negative, int settings)
    {
        var read = InfoText.Parse(text);
        Assert.Equal((prompt, negative, settings), (read.Prompt, read.NegativePrompt, read.Settings.Count));
    }

    /// <summary>Prompts that look like other parts of the text, and any value: nothing is lost on the way through a file and back.</summary>
    [Fact]
    public void What_was_written_is_read_and_written_again_the_same()
    {
        var random = new Random(11);
        for (var i = 0; i < RandomTexts; i++)
        {
            var (prompt, negative) = (Text(random), Text(random));
            (string Key, string Value)[] settings =
                [("Steps", $"{i}"), ("Sampler", "Euler a"), ("Seed", "1"), .. Enumerable.Range(0, random.Next(4)).Select(k => ($"Key {k}", Text(random)))];
            var text = InfoText.Format(prompt, negative, settings.Select(s => (s.Key, (string?)s.Value)));
            var read = InfoText.Parse(text);
            Assert.Equal((prompt, negative), (read.Prompt, read.NegativePrompt));
            Assert.Equal(settings, read.Settings);
            Assert.Equal(text, Write(read));
        }
    }

    /// <summary>Any text can be read, and what was read survives.</summary>
    [Fact]
    public void Any_text_keeps_what_was_read_of_it()
    {
        var random = new Random(12);
        for (var i = 0; i < RandomTexts; i++)
        {
            var read = InfoText.Parse(Text(random) + (i % 2 == 0 ? "" : $"\nSteps: 1, Seed: {Text(random)}, Size: 8x8, {Text(random)}: {Text(random)}"));
            AssertSame(read, InfoText.Parse(Write(read)));
        }
    }

    [Theory]
    [InlineData("aaaa")]
    [InlineData("\"")]
    [InlineData("aa:\"")]
    [InlineData("aa:\"x")]
    [InlineData("a:\\\"")]
    [InlineData("Negative prompt:\n")]
    public void Long_texts_take_no_squared_time(string piece)
    {
        var text = string.Concat(Enumerable.Repeat(piece, 2_000_000 / piece.Length));
        var watch = System.Diagnostics.Stopwatch.StartNew();
        InfoText.Parse(text);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(10), $"{watch.Elapsed} for {text.Length} characters");
    }

    private static string Write(PictureSettings read) =>
        InfoText.Format(read.Prompt, read.NegativePrompt, read.Settings.Select(s => (s.Key, (string?)s.Value)));

    private static void AssertSame(PictureSettings expected, PictureSettings actual)
    {
        Assert.Equal((expected.Prompt, expected.NegativePrompt), (actual.Prompt, actual.NegativePrompt));
        Assert.Equal(expected.Settings, actual.Settings);
    }

    private static string Text(Random random) =>
        string.Concat(Enumerable.Range(0, random.Next(6)).Select(_ => Pieces[random.Next(Pieces.Length)]));
}
