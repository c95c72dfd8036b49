using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Files that are replaced while a pipeline draws with what it read of them, as a server's models are.</summary>
public sealed class ReplacedFilesTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>
    /// The encoder is read when the first picture to begin with comes, with offload everything again and again, and hashes are made after the first picture's last
    /// step.
    /// </summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Pictures_come_of_the_files_that_were_loaded_and_name_those(bool isOneFile, bool offload)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets nobody replace them");
        TemporaryFolder.Copy(LoadedModel.Bundled, folder["model"]);
        var options = Additions() with { Offload = offload };
        if (isOneFile)
        {
            StableDiffusionPipeline.Convert(new ModelOptions(), folder["whole.safetensors"], type: null, Cancellation);
            options = options with { Model = folder["whole.safetensors"], ConfigFolder = folder["model"], Vae = folder["vae.safetensors"] };
        }
        else
        {
            options = options with { Model = folder["model"] };
        }

        (byte[] Pixels, string Parameters) expected;
        using (var pipeline = StableDiffusionPipeline.Load(options, ComputeDevice.Processor, Cancellation))
        {
            expected = Draw(pipeline);
        }

        string[] named = ["Model hash: ", "Lora hashes: ", "TI hashes: ", .. isOneFile ? ["VAE hash: "] : Array.Empty<string>()];
        Assert.All(named, key => Assert.Contains(key, expected.Parameters, StringComparison.Ordinal));
        using var kept = StableDiffusionPipeline.Load(options, ComputeDevice.Processor, Cancellation);
        foreach (var file in Directory.GetFiles(folder.Path, "*.safetensors", SearchOption.AllDirectories))
        {
            File.WriteAllText(folder["new"], "another one");
            File.Move(folder["new"], file, overwrite: true);
        }

        var actual = Draw(kept);
        Assert.Equal(expected.Parameters, actual.Parameters);
        Assert.Equal(expected.Pixels, actual.Pixels);
    }

    public void Dispose() => folder.Dispose();

    private static (byte[] Pixels, string Parameters) Draw(StableDiffusionPipeline pipeline)
    {
        var image = pipeline.Generate(
            new GenerationRequest
            {
                Prompt = "an apple, my-style <lora:bold:1>",
                Steps = 2,
                InitImage = new InputImage(16, 16, new byte[3 * 16 * 16]),
            },
            cancellationToken: Cancellation)[0];
        return (image.Pixels.ToArray(), image.Parameters);
    }

    private ModelOptions Additions()
    {
        using var model = LoadedModel.Open(model: null);
        var style = new TensorFiles().Add("emb_params", [1, model.TextConfig.Hidden], new float[model.TextConfig.Hidden]).Write(folder["my-style.safetensors"]);
        var shape = model.RecordUNet(1, 8, 8).Weights.First(w => w.Name == "time_embedding.linear_1.weight").Shape;
        var bold = new TensorFiles()
            .Add("lora_unet_time_embedding_linear_1.lora_up.weight", [shape[0], 1], new float[shape[0]])
            .Add("lora_unet_time_embedding_linear_1.lora_down.weight", [1, shape[1]], new float[shape[1]])
            .Write(folder["bold.safetensors"]);
        File.Copy(Directory.GetFiles(folder[Path.Combine("model", "vae")], "*.safetensors").Single(), folder["vae.safetensors"]);
        return new ModelOptions { Loras = [bold], Embeddings = [style] };
    }
}
