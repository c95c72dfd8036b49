using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary><c>sdilgpu img2img</c> in this process, with the bundled model.</summary>
public sealed class CliImageTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    /// <summary>Arguments behind <c>img2img -o FOLDER/out.png</c>, PICTURE standing for one, the exit code, and parts of the line.</summary>
    public static TheoryData<string[], int, string[]> BadInput => new()
    {
        { ["-p", "x", "-i", "PICTURE", "--strength", "2"], 1, ["strength 2", "0 to 1"] },
        { ["-p", "x", "-i", "PICTURE", "--strength", "-1"], 1, ["strength -1"] },
        { ["-p", "x", "-i", "PICTURE", "--strength", "NaN"], 1, ["strength NaN"] },
        { ["-p", "x", "-i", "PICTURE", "--strength", "0.01"], 1, ["strength 0.01", "20 steps"] },
        { ["-p", "x", "-i", "PICTURE", "--strength", "half"], 2, ["--strength 'half'"] },
        { ["-p", "x", "-i", "/no/such.png"], 1, ["'/no/such.png'", "no such file"] },
        { ["-p", "x", "-i", "/"], 1, ["'/'", "folder"] },
        { ["-p", "x", "-i", "TEXT"], 1, ["text.png", "PNG, JPEG, WebP"] },
        { ["-p", "x", "-i", "PICTURE", "--mask", "/no/mask.png"], 1, ["'/no/mask.png'", "no such file"] },
        { ["-p", "x", "-i", "PICTURE", "--mask", "TEXT"], 1, ["text.png", "PNG, JPEG, WebP"] },
        { ["-p", "x", "-i", "PICTURE", "--mask", "PICTURE", "--mask-blur", "-1"], 1, ["mask blur -1"] },
        { ["-p", "x", "-i", "PICTURE", "--mask-blur", "4"], 1, ["needs a mask"] },
        { ["-p", "x", "-i", "PICTURE", "--invert-mask"], 1, ["needs a mask"] },
        { ["-p", "x", "-i", "PICTURE", "--resize-mode", "squash"], 2, ["resize mode \"squash\"", "stretch, crop, pad"] },
        { ["-p", "x", "-i", "PICTURE", "--latent", "median"], 2, ["latent \"median\"", "sample, mean"] },
        { ["-p", "x", "-i", "PICTURE", "-W", "65"], 1, ["width 65"] },
        { ["-p", "x"], 2, ["--init-img"] },
        { ["-i", "PICTURE"], 2, ["--prompt"] },
    };

    [Theory]
    [MemberData(nameof(BadInput))]
    public void Bad_input_gives_one_clear_line_and_no_file(string[] arguments, int exit, string[] parts)
    {
        File.WriteAllText(folder["text.png"], "not a picture");
        var picture = Write("picture.png", 16, 16, (_, _) => 128);
        arguments = [.. arguments.Select(a => a == "PICTURE" ? picture : a == "TEXT" ? folder["text.png"] : a)];
        CliRun.InProcess(["img2img", "-o", folder["out.png"], .. arguments]).AssertFailed(exit, parts);
        Assert.Equal(["picture.png", "text.png"], folder.Entries);
    }

    [Fact]
    public void Only_img2img_takes_a_picture()
    {
        CliRun.InProcess("txt2img", "-p", "x", "-i", "a.png").AssertFailed(2, ["'-i'"]);
        var help = CliRun.InProcess("img2img", "--help");
        Assert.Equal((0, ""), (help.Exit, help.Error));
        string[] options =
        [
            "-i, --init-img", "--strength", "--resize-mode", "--mask ", "--mask-blur", "--invert-mask", "--latent", "-p, --prompt", "-m, --model",
            "[default: 0.75]", "[default: crop]", "[default: 0]", "[default: sample]", "rounded down]",
        ];
        Assert.All(options, option => Assert.Contains(option, help.Output, StringComparison.Ordinal));
    }

    [Fact]
    public void A_picture_of_the_pictures_size_comes_out()
    {
        var picture = Write("picture.png", 67, 50, (x, y) => (byte)((x + y) * 2));
        var drawn = Draw("out.png", "-i", picture);
        Assert.Equal((64, 48), (drawn.Width, drawn.Height));
        Assert.Contains("Size: 64x48, ", drawn.Text("parameters"), StringComparison.Ordinal);
        Assert.Contains(", Denoising strength: 0.75", drawn.Text("parameters"), StringComparison.Ordinal);
        Assert.Equal(drawn.Pixels, Draw("again.png", "-i", picture).Pixels);
        var sized = Draw("sized.png", "-i", picture, "-W", "64", "-H", "64", "--resize-mode", "pad");
        Assert.Equal((64, 64), (sized.Width, sized.Height));
        Assert.NotEqual(drawn.Pixels, Draw("mean.png", "-i", picture, "--latent", "mean").Pixels);
    }

    [Fact]
    public void The_less_strength_the_nearer_the_picture()
    {
        var picture = Write("picture.png", 64, 64, (x, y) => (byte)(x < 32 ? 230 : 40));
        var original = PngFile.Read(picture).Pixels;
        double Distance(string strength) => Draw($"{strength}.png", "-i", picture, "--strength", strength).Pixels
            .Zip(original).Average(p => Math.Abs(p.First - p.Second));
        var (little, most) = (Distance("0.25"), Distance("1"));
        TestContext.Current.TestOutputHelper?.WriteLine($"mean distance {little:0.0} at 0.25, {most:0.0} at 1");
        Assert.True(little < most);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Unmasked_pixels_come_back_byte_for_byte(bool invert)
    {
        var picture = Write("picture.png", 64, 64, (x, y) => (byte)((x * y) + (5 * x)));

        // What is painted anew lies from 24 on, whether that is the white or, inverted, the black part.
        var mask = Write("mask.png", 64, 64, (x, _) => (byte)(x < 24 == invert ? 255 : 0));
        var drawn = Draw("out.png", ["-i", picture, "--mask", mask, .. invert ? ["--invert-mask"] : Array.Empty<string>()]);
        var original = PngFile.Read(picture).Pixels;
        var changed = 0;
        for (var i = 0; i < original.Length; i++)
        {
            var masked = i / 3 % 64 >= 24;
            Assert.True(masked || drawn.Pixels[i] == original[i], $"byte {i} of an unmasked pixel changed");
            changed += drawn.Pixels[i] != original[i] ? 1 : 0;
        }

        Assert.True(changed > 64 * 40, $"only {changed} masked bytes were painted");
    }

    [Fact]
    public void A_blurred_mask_is_told_in_the_parameters()
    {
        var picture = Write("picture.png", 64, 64, (x, y) => (byte)(x + y));
        var mask = Write("mask.png", 64, 64, (x, _) => (byte)(x < 24 ? 255 : 0));
        var drawn = Draw("out.png", "-i", picture, "--mask", mask, "--mask-blur", "2");
        Assert.Contains("Mask blur: 2", drawn.Text("parameters"), StringComparison.Ordinal);

        // The kernel reaches 5 pixels far.
        var original = PngFile.Read(picture).Pixels;
        Assert.All(Enumerable.Range(0, original.Length).Where(i => i / 3 % 64 >= 29), i => Assert.Equal(original[i], drawn.Pixels[i]));
    }

    /// <summary>The second pass keeps the part that the first one kept, in the larger size.</summary>
    [Fact]
    public void A_second_pass_keeps_what_the_mask_keeps()
    {
        var picture = Write("picture.png", 64, 64, (x, y) => (byte)((x * y) + (5 * x)));
        var mask = Write("mask.png", 64, 64, (x, _) => (byte)(x < 24 ? 0 : 255));
        var drawn = Draw("out.png", "-i", picture, "--mask", mask, "--hires", "--hires-scale", "1.5", "--hires-upscaler", "pixel");
        Assert.Equal((96, 96), (drawn.Width, drawn.Height));
        Assert.Contains(
            ", Denoising strength: 0.75, Hires upscale: 1.5, Hires upscaler: Lanczos, Hires denoising strength: 0.7, ", drawn.Text("parameters"),
            StringComparison.Ordinal);
        var larger = PictureFit.Fit(InputImage.Load(picture), 96, 96, ResizeMode.Stretch).Pixels.Span;

        // The mask's edge is as wide as a pixel of its own.
        var (kept, changed) = (0, 0);
        for (var i = 0; i < larger.Length; i++)
        {
            var column = i / 3 % 96;
            kept += column < 34 && drawn.Pixels[i] != larger[i] ? 1 : 0;
            changed += column > 38 && drawn.Pixels[i] != larger[i] ? 1 : 0;
        }

        Assert.Equal(0, kept);
        Assert.True(changed > 96 * 58, $"only {changed} masked bytes were painted");

        var again = Draw("again.png", "-i", picture, "--mask", mask, "--from", folder["out.png"]);
        Assert.Equal(drawn.Pixels, again.Pixels);
    }

    [Fact]
    public void A_pictures_strength_and_mask_are_repeated()
    {
        var picture = Write("picture.png", 64, 40, (x, y) => (byte)(x + y));
        var mask = Write("mask.png", 64, 40, (x, _) => (byte)(x < 24 ? 255 : 0));
        string[] begin = ["-i", picture, "--mask", mask];
        string[] fit = ["--width", "64", "--height", "64", "--resize-mode", "pad", "--latent", "mean"];
        var drawn = Draw("out.png", [.. begin, "--strength", "0.5", "--mask-blur", "2", "--invert-mask", .. fit]);
        Assert.Equal(drawn.Pixels, Draw("again.png", [.. begin, "--from", folder["out.png"]]).Pixels);
        Assert.NotEqual(drawn.Pixels, Draw("stronger.png", [.. begin, "--from", folder["out.png"], "--strength", "1"]).Pixels);
        Assert.NotEqual(drawn.Pixels, Draw("cut.png", [.. begin, "--from", folder["out.png"], "--resize-mode", "crop"]).Pixels);
        Assert.NotEqual(drawn.Pixels, Draw("sampled.png", [.. begin, "--from", folder["out.png"], "--latent", "sample"]).Pixels);

        // Without a mask only what is not about it.
        var run = CliRun.InProcess("img2img", "-i", picture, "--from", folder["out.png"], "-o", folder["whole.png"]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Contains("not repeated: Mask mode, Mask blur", run.Output, StringComparison.Ordinal);
        Assert.Contains(", Denoising strength: 0.5, Resize mode: pad, Latent: mean", PngFile.Read(folder["whole.png"]).Text("parameters"), StringComparison.Ordinal);
    }

    public void Dispose() => folder.Dispose();

    private string Write(string name, int width, int height, Func<int, int, byte> grey)
    {
        byte[] pixels = [.. Enumerable.Range(0, width * height).SelectMany(i => Enumerable.Repeat(grey(i % width, i / width), 3))];
        PngWriter.Write(folder[name], width, height, pixels, "");
        return folder[name];
    }

    private PngFile Draw(string file, params string[] arguments)
    {
        var run = CliRun.InProcess(["img2img", "-p", "a cat", "--steps", "4", "-o", folder[file], .. arguments]);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        return PngFile.Read(folder[file]);
    }
}
