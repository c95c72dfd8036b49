using System.Text.Json;
using System.Text.RegularExpressions;
using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public sealed partial class InfoTextTests
{
    [Fact]
    public void Text_has_the_layout_that_other_tools_read() => Assert.Equal(
        "a cat\nNegative prompt: blurry, dark\n"
        + "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b7c",
        InfoText.Format("a cat", "blurry, dark",
        [
            ("Steps", "20"), ("Sampler", "DPM++ 2M"), ("Schedule type", "Karras"), ("CFG scale", "7"), ("Seed", "965400086"),
            ("Size", "512x512"), ("Model hash", "45dee52b7c"), ("Model", null),
        ]));

    [Fact]
    public void Null_values_leave_no_comma_behind() =>
        Assert.Equal("p\nSteps: 1, Size: 8x8", InfoText.Format("p", "", [("A", null), ("Steps", "1"), ("B", null), ("Size", "8x8"), ("C", null)]));

    [Theory]
    [InlineData("", "", "Steps: 1")]
    [InlineData("", "dark", "Negative prompt: dark\nSteps: 1")]
    [InlineData("two\nlines", "", "two\nlines\nSteps: 1")]
    [InlineData("猫 🐱", "köter", "猫 🐱\nNegative prompt: köter\nSteps: 1")]
    public void Empty_prompts_leave_no_line(string prompt, string negative, string expected) =>
        Assert.Equal(expected, InfoText.Format(prompt, negative, [("Steps", "1")]));

    [Theory]
    [InlineData("plain \"quoted\" \\ name", "plain \"quoted\" \\ name")]
    [InlineData("a, b", "\"a, b\"")]
    [InlineData("a:b", "\"a:b\"")]
    [InlineData("a\nb", "\"a\\nb\"")]
    [InlineData("\"x\", \\ tab\t bell\a é 🐱", "\"\\\"x\\\", \\\\ tab\\t bell\\u0007 é 🐱\"")]
    public void Values_that_would_split_the_line_are_quoted(string value, string written) =>
        Assert.Equal($"p\nModel: {written}, Steps: 1", InfoText.Format("p", "", [("Model", value), ("Steps", "1")]));

    [Theory]
    [InlineData("a cat, sitting", "blurry: very", "model-v1.5")]
    [InlineData("", "", "a, b: \"c\"\\\n🐱")]
    [InlineData("first\nsecond\n\nfourth", "no\nnothing", "m")]
    public void The_web_ui_reads_back_what_was_written(string prompt, string negative, string model)
    {
        (string, string?)[] settings =
            [("Steps", "20"), ("Sampler", "DPM++ 2M"), ("CFG scale", "7.5"), ("Seed", "42"), ("Size", "64x128"), ("Model", model)];
        var read = Parse(InfoText.Format(prompt, negative, settings));
        Assert.Equal(prompt, read.Prompt);
        Assert.Equal(negative, read.Negative);
        Assert.Equal(settings, read.Settings.Select(s => (s.Key, (string?)s.Value)));
    }

    // What the web UI's reader does: the last line has at least three "key: value", of the lines before it those from
    // "Negative prompt:" on are the negative prompt.
    private static (string Prompt, string Negative, List<(string Key, string Value)> Settings) Parse(string text)
    {
        var lines = text.Trim().Split('\n');
        var matches = Setting().Matches(lines[^1]);
        Assert.True(matches.Count >= 3, $"no settings in '{lines[^1]}'");
        var settings = matches.Select(m => (m.Groups[1].Value, Unquote(m.Groups[2].Value))).ToList();

        var prompt = new List<string>();
        var negative = new List<string>();
        foreach (var line in lines[..^1])
        {
            if (line.StartsWith("Negative prompt:", StringComparison.Ordinal))
            {
                negative.Add(line["Negative prompt:".Length..].Trim());
            }
            else
            {
                (negative.Count > 0 ? negative : prompt).Add(line);
            }
        }

        return (string.Join('\n', prompt), string.Join('\n', negative), settings);
    }

    private static string Unquote(string value) =>
        value.StartsWith('"') && value.EndsWith('"') ? JsonSerializer.Deserialize<string>(value)! : value;

    [GeneratedRegex("""\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)""")]
    private static partial Regex Setting();
}
