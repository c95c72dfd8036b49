using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public sealed class PngTests
{
    private const string Parameters = "a cat\nSteps: 20, Sampler: Euler a";

    [Theory]
    [InlineData(64, 64)]
    [InlineData(8, 24)]
    [InlineData(137, 3)]
    public void Pixels_come_back_as_24_bit_rgb(int width, int height)
    {
        var pixels = Noise(width, height);
        var png = PngFile.Parse(PngWriter.Encode(width, height, pixels, Parameters));
        Assert.Equal((width, height), (png.Width, png.Height));
        Assert.Equal(pixels, png.Pixels);
    }

    /// <summary>What is written where the image library has no native part.</summary>
    [Theory]
    [InlineData(64, 64)]
    [InlineData(1, 1)]
    [InlineData(137, 3)]
    public void Pixels_come_back_from_the_plain_encoder(int width, int height)
    {
        byte[] slope = [.. Enumerable.Range(0, 3 * width * height).Select(i => (byte)((i / 3 % width) + (2 * (i / 3 / width)) + (i % 3 * 50)))];
        foreach (var pixels in new[] { Noise(width, height), slope })
        {
            var file = PlainPng.Encode(width, height, pixels);
            var png = PngFile.Parse(file);
            Assert.Equal((width, height), (png.Width, png.Height));
            Assert.Equal(pixels, png.Pixels);
            Assert.Equal(["IHDR", "IDAT", "IEND"], png.Chunks.Select(c => c.Type));
        }

        // Without filters a slope would take most of its bytes.
        Assert.True(width < 64 || PlainPng.Encode(width, height, slope).Length < slope.Length / 8);
    }

    [Fact]
    public void A_grey_picture_is_24_bit_too()
    {
        var pixels = new byte[3 * 16 * 16];
        Array.Fill(pixels, (byte)77);
        Assert.Equal(pixels, PngFile.Parse(PngWriter.Encode(16, 16, pixels, Parameters)).Pixels);
    }

    [Theory]
    [InlineData("a cat\nNegative prompt: %w <b> & @x\nSteps: 20, Sampler: Euler a", "tEXt")]
    [InlineData("  spaces, \r\n tabs\t and an end \n", "tEXt")]
    [InlineData("café, naïve, Größe", "tEXt")]
    [InlineData("猫 on a mat 🐱, e\u0301", "iTXt")]
    public void The_parameters_stand_in_one_plain_text_chunk(string text, string type)
    {
        // Repeated, because the image library's own texts are compressed when they are long.
        foreach (var parameters in new[] { text, string.Concat(Enumerable.Repeat(text, 200)) })
        {
            var png = PngFile.Parse(PngWriter.Encode(8, 8, Noise(8, 8), parameters));
            Assert.Equal(parameters, png.Text("parameters"));
            Assert.Equal(["IHDR", type, "IDAT", "IEND"], png.Chunks.Select(c => c.Type).Distinct());
        }
    }

    [Fact]
    public void Without_parameters_there_is_no_text_chunk() => Assert.Equal(
        ["IHDR", "IDAT", "IEND"], PngFile.Parse(PngWriter.Encode(8, 8, Noise(8, 8), "")).Chunks.Select(c => c.Type));

    [Fact]
    public void The_same_picture_gives_the_same_bytes_and_replaces_a_file()
    {
        using var folder = new TemporaryFolder();
        var image = new GeneratedImage(32, 32, Noise(32, 32), 1, Parameters);
        File.WriteAllText(folder["b.png"], "something longer than nothing");
        image.Save(folder["a.png"]);
        image.Save(folder["b.png"]);
        Assert.Equal(File.ReadAllBytes(folder["a.png"]), File.ReadAllBytes(folder["b.png"]));
        Assert.Equal(File.ReadAllBytes(folder["a.png"]), image.ToPng());
        Assert.Equal(Parameters, PngFile.Read(folder["b.png"]).Text("parameters"));
        Assert.Equal(["a.png", "b.png"], folder.Entries);
    }

    [Fact]
    public void A_name_without_a_folder_is_written_to_the_current_one()
    {
        var name = $"png-test-{Guid.NewGuid():N}.png";
        try
        {
            new GeneratedImage(8, 8, Noise(8, 8), 1, "").Save(name);
            Assert.True(File.Exists(Path.Combine(Environment.CurrentDirectory, name)));
        }
        finally
        {
            File.Delete(name);
        }
    }

    [Fact]
    public void An_output_that_cannot_be_written_is_named_and_nothing_is_left()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["folder.png"]);
        File.WriteAllText(folder["file"], "");

        // The last one passes all checks of the folder, and fails when the finished file is to get its name.
        string[] outputs =
        [
            folder["missing/a.png"], folder["folder.png"], folder["file/a.png"], "", folder[""] + "/", folder[new string('x', 300) + ".png"],
        ];
        foreach (var output in outputs)
        {
            var error = Assert.Throws<StableDiffusionException>(() => new GeneratedImage(8, 8, Noise(8, 8), 1, "").Save(output));
            Assert.StartsWith($"cannot write '{output}': ", error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain('\n', error.Message);
            Assert.DoesNotContain(".tmp", error.Message, StringComparison.Ordinal);
            Assert.Equal(["file", "folder.png"], folder.Entries);
        }
    }

    [Fact]
    public void Checking_an_output_changes_nothing()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["old.png"], "old");
        PngWriter.CheckWritable(folder["old.png"]);
        PngWriter.CheckWritable(folder["new.png"]);
        Assert.Equal(["old.png"], folder.Entries);
        Assert.Equal("old", File.ReadAllText(folder["old.png"]));
        Assert.Throws<StableDiffusionException>(() => PngWriter.CheckWritable(folder["missing/new.png"]));
        Assert.Throws<StableDiffusionException>(() => PngWriter.CheckWritable(folder.Path));
    }

    [Fact]
    public void A_name_that_is_too_long_is_told_before_there_is_a_picture()
    {
        using var folder = new TemporaryFolder();
        PngWriter.CheckWritable(folder[new string('x', 100) + ".png"]);
        var error = Assert.Throws<StableDiffusionException>(() => PngWriter.CheckWritable(folder[new string('x', 300) + ".png"]));
        Assert.EndsWith("xxx.png': the name is too long", error.Message, StringComparison.Ordinal);
    }

    /// <summary>As other programs write.</summary>
    [Fact]
    public void A_link_stays_and_what_it_points_to_is_written()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "links need rights there");
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["there"]);
        File.WriteAllText(folder["there/old.png"], "old");
        foreach (var name in new[] { "old.png", "new.png" })
        {
            // By way of a second link, and relative to the folder that it lies in.
            File.CreateSymbolicLink(folder[$"there/by-{name}"], name);
            File.CreateSymbolicLink(folder[name], $"there/by-{name}");
            PngWriter.CheckWritable(folder[name]);
            PngWriter.Replace(folder[name], [1, 2, 3]);
            Assert.Equal($"there/by-{name}", new FileInfo(folder[name]).LinkTarget);
            Assert.Null(new FileInfo(folder[$"there/{name}"]).LinkTarget);
            Assert.Equal([1, 2, 3], File.ReadAllBytes(folder[$"there/{name}"]));
        }

        File.CreateSymbolicLink(folder["astray.png"], folder["missing/a.png"]);
        File.CreateSymbolicLink(folder["loop.png"], folder["loop.png"]);
        Assert.All(
            new[] { "astray.png': there is no folder", "loop.png': Too many levels of symbolic links" },
            part =>
            {
                var error = Assert.Throws<StableDiffusionException>(() => PngWriter.CheckWritable(folder[part.Split('\'')[0]]));
                Assert.Contains(part, error.Message, StringComparison.Ordinal);
            });
        Assert.Equal(["astray.png", "loop.png", "new.png", "old.png", "there"], folder.Entries);
    }

    [Theory]
    [InlineData("a<b.png", "'<'")]
    [InlineData("ab:c.png", "':'")]
    [InlineData("a?.png", "'?'")]
    [InlineData("a\tb.png", "control characters")]
    public void Names_that_Windows_refuses_are_told_before_there_is_a_picture(string name, string part)
    {
        using var folder = new TemporaryFolder();
        if (OperatingSystem.IsWindows())
        {
            var error = Assert.Throws<StableDiffusionException>(() => PngWriter.CheckWritable(folder[name]));
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
        }
        else
        {
            PngWriter.CheckWritable(folder[name]);
        }

        Assert.Empty(folder.Entries);
    }

    [Theory]
    [InlineData("NUL")]
    [InlineData("nul")]
    [InlineData("COM1")]
    public void Names_of_Windows_devices_are_not_for_pictures(string name)
    {
        Assert.SkipUnless(OperatingSystem.IsWindows(), "such devices are Windows' alone");
        var error = Assert.Throws<StableDiffusionException>(() => PngWriter.CheckWritable(name));
        Assert.Contains("device", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_picture_that_somebody_looks_at_is_replaced_when_they_have_it_no_more()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["a.png"], "old");
        var viewer = new FileStream(folder["a.png"], FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var writing = Task.Run(() => PngWriter.Replace(folder["a.png"], [1]), TestContext.Current.CancellationToken);
        await Task.WhenAny(writing, Task.Delay(300, TestContext.Current.CancellationToken));
        await viewer.DisposeAsync();
        await writing;
        Assert.Equal([1], File.ReadAllBytes(folder["a.png"]));
        Assert.Equal(["a.png"], folder.Entries);
    }

    [Fact]
    public void A_picture_that_stays_open_stays_as_it_was()
    {
        Assert.SkipUnless(OperatingSystem.IsWindows(), "other systems replace files that are open");
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["a.png"], "old");
        using (new FileStream(folder["a.png"], FileMode.Open, FileAccess.Read, FileShare.ReadWrite))
        {
            var error = Assert.Throws<StableDiffusionException>(() => PngWriter.Replace(folder["a.png"], [1]));
            Assert.Contains("a program has it open", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal("old", File.ReadAllText(folder["a.png"]));
        Assert.Equal(["a.png"], folder.Entries);
    }

    private static byte[] Noise(int width, int height)
    {
        var pixels = new byte[3 * width * height];
        new Random(7).NextBytes(pixels);
        return pixels;
    }
}
