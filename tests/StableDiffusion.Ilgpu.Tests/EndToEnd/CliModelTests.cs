using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>Models in every layout on the command line: inspect, convert, and pictures from parts of several files.</summary>
public sealed class CliModelTests
{
    public static TheoryData<int, string[], string[]> BadInput => new()
    {
        { 2, ["convert", "-m", "x"], ["--output"] },
        { 2, ["convert", "-o", "x", "--type", "int8"], ["type \"int8\"", "fp16, fp32, bf16"] },
        { 2, ["inspect", "--prediction", "x0"], ["prediction \"x0\"", "eps, v"] },
        { 1, ["convert", "-m", "/no/such/model", "-o", "x.safetensors"], ["/no/such/model"] },
        { 1, ["convert", "-o", "/no/such/folder/x"], ["/no/such/folder"] },
        { 1, ["inspect", "--vae", "/no/such/file"], ["/no/such/file"] },
        { 1, ["inspect", "--config", "/no/such/folder"], ["/no/such/folder"] },
    };

    [Theory]
    [MemberData(nameof(BadInput))]
    public void Bad_input_gives_one_clear_line(int exit, string[] arguments, string[] parts) =>
        CliRun.InProcess(arguments).AssertFailed(exit, parts);

    [Theory]
    [InlineData("/proc/x.safetensors")]
    [InlineData("/proc/x")]
    public void An_output_that_cannot_be_written_is_named_as_it_was_given(string output)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "uses a folder of Linux that takes no new files from anybody");
        var run = CliRun.InProcess("convert", "-o", output);
        run.AssertFailed(1, [$"error: {output}: cannot be written: "]);
        Assert.DoesNotContain(".tmp", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Inspect_names_variant_layout_counts_and_hashes()
    {
        foreach (var model in SingleFileSample.Models)
        {
            using var folder = new TemporaryFolder();
            var path = new SingleFileSample(model).Write(folder["m.safetensors"]);
            var run = CliRun.InProcess("inspect", "-m", path, "--config", ReferenceData.PathOf(model));
            Assert.Equal((0, ""), (run.Exit, run.Error));
            var hash = PullServer.Sha256(File.ReadAllBytes(path));
            Assert.All(
                new[]
                {
                    "m: own sizes (", "-prediction)", "layout: single file", $"SHA-256: {hash}, model hash: {hash[..10]}", "not used: ",
                    "model_ema.* (2)",
                },
                part => Assert.Contains(part, run.Output, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Inspect_recognises_a_published_model()
    {
        var run = CliRun.InProcess("inspect", "-m", "synthetic:sd15");
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.All(
            new[] { "Stable Diffusion 1.x (ε-prediction)", "859,520,964", "123,060,480" },
            part => Assert.Contains(part, run.Output, StringComparison.Ordinal));
    }

    /// <summary>The picture of a converted model, whole or with a part taken from elsewhere, is the picture of the model.</summary>
    [Fact]
    public void Converted_models_draw_the_same()
    {
        using var folder = new TemporaryFolder();
        var expected = Draw("original.png");
        Convert("model.safetensors");
        Convert("model");
        Convert("half.safetensors", "--type", "fp16");
        Assert.Equal(expected, Draw("folder.png", "-m", folder["model"]));
        Assert.Equal(expected, Draw("file.png", "-m", folder["model.safetensors"], "--config", folder["model"]));
        Assert.Equal(expected, Draw("half.png", "-m", folder["half.safetensors"], "--config", folder["model"]));
        Assert.Equal(
            expected,
            Draw(
                "parts.png", "-m", folder["model"], "--vae", folder["model.safetensors"], "--text-encoder", folder["model.safetensors"],
                "--unet", Path.Combine(folder["model"], "unet", "diffusion_pytorch_model.safetensors")));
        Assert.NotEqual(expected, Draw("v.png", "--prediction", "v"));

        // Pictures name another autoencoder as the web UI does.
        Assert.Contains(
            $", VAE hash: {PullServer.Sha256(File.ReadAllBytes(folder["model.safetensors"]))[..10]}, VAE: model.safetensors,", PngFile.Read(folder["parts.png"]).Text("parameters"),
            StringComparison.Ordinal);
        Assert.DoesNotContain("VAE", PngFile.Read(folder["original.png"]).Text("parameters"), StringComparison.Ordinal);

        void Convert(string name, params string[] more)
        {
            var run = CliRun.InProcess(["convert", "-o", folder[name], .. more]);
            Assert.Equal((0, "", folder[name]), (run.Exit, run.Error, run.Output.Trim()));
        }

        byte[] Draw(string name, params string[] model)
        {
            var run = CliRun.InProcess(["txt2img", "-p", "cat", "--steps", "2", "-o", folder[name], .. model]);
            Assert.Equal((0, ""), (run.Exit, run.Error));
            return PngFile.Read(folder[name]).Pixels;
        }
    }

    [Fact]
    public void An_inpainting_model_says_what_it_needs()
    {
        using var folder = new TemporaryFolder();
        foreach (var model in Directory.GetDirectories(ReferenceData.Folder, "tiny-inpaint*"))
        {
            CliRun.InProcess("txt2img", "-m", model, "-p", "x", "-o", folder["x.png"])
                .AssertFailed(1, ["inpainting model", "9 channels", "mask"]);
        }

        Assert.Empty(folder.Entries);
    }
}
