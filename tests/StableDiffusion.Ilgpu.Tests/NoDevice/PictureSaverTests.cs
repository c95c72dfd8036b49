using StableDiffusion.Ilgpu.Cli;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Saving pictures while others are drawn: in their order, all or up to the first that cannot be written.</summary>
public sealed class PictureSaverTests
{
    [Fact]
    public void Files_appear_in_the_order_of_their_pictures()
    {
        using var folder = new TemporaryFolder();
        var names = new List<string>();
        using var saver = new PictureSaver(TestContext.Current.CancellationToken);

        // The first takes longest.
        foreach (var (i, size) in new[] { 700, 16, 300, 8, 8, 8, 8, 8 }.Index())
        {
            var file = folder[$"{i}.png"];
            saver.Add(Picture(size), file, () =>
            {
                Assert.True(File.Exists(file));
                names.Add(Path.GetFileName(file));
            });
        }

        saver.Finish();
        Assert.Equal(Enumerable.Range(0, 8).Select(i => $"{i}.png"), names);
        Assert.Equal(Picture(700).ToPng(), File.ReadAllBytes(folder["0.png"]));
        Assert.False(saver.Cancellation.IsCancellationRequested);
    }

    [Fact]
    public void After_a_file_that_cannot_be_written_there_is_none_and_drawing_stops()
    {
        using var folder = new TemporaryFolder();
        using var saver = new PictureSaver(TestContext.Current.CancellationToken);
        var saved = 0;
        foreach (var name in new[] { "0.png", Path.Combine("missing", "1.png"), "2.png" })
        {
            saver.Add(Picture(16), folder[name], () => saved++);
        }

        var error = Assert.Throws<StableDiffusionException>(saver.Finish);
        Assert.StartsWith($"cannot write '{folder[Path.Combine("missing", "1.png")]}'", error.Message, StringComparison.Ordinal);
        Assert.Equal(1, saved);
        Assert.Equal([folder["0.png"]], Directory.EnumerateFileSystemEntries(folder.Path));
        Assert.True(saver.Cancellation.IsCancellationRequested);
    }

    [Fact]
    public void When_nobody_can_be_told_drawing_stops_and_what_was_drawn_is_saved()
    {
        using var folder = new TemporaryFolder();
        using var saver = new PictureSaver(TestContext.Current.CancellationToken);
        var told = 0;
        for (var i = 0; i < 3; i++)
        {
            saver.Add(Picture(16), folder[$"{i}.png"], () =>
            {
                told++;
                throw new StableDiffusionException("the output is closed");
            });
        }

        Assert.Equal("the output is closed", Assert.Throws<StableDiffusionException>(saver.Finish).Message);
        Assert.Equal(1, told);
        Assert.Equal(3, Directory.GetFiles(folder.Path).Length);
        Assert.True(saver.Cancellation.IsCancellationRequested);
    }

    [Fact]
    public void What_was_drawn_before_a_cancellation_is_saved()
    {
        using var folder = new TemporaryFolder();
        using var cancellation = new CancellationTokenSource();
        using (var saver = new PictureSaver(cancellation.Token))
        {
            saver.Add(Picture(500), folder["0.png"], () => { });
            saver.Add(Picture(16), folder["1.png"], () => { });
            cancellation.Cancel();
            Assert.True(saver.Cancellation.IsCancellationRequested);
        }

        Assert.True(File.Exists(folder["0.png"]) && File.Exists(folder["1.png"]));
    }

    private static GeneratedImage Picture(int size)
    {
        var pixels = new byte[3 * size * size];
        new Random(size).NextBytes(pixels);
        return new GeneratedImage(size, size, pixels, 42, "noise");
    }
}
