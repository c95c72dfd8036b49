using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Files that are replaced while a pipeline draws with what it read of them, as a server's models are.</summary>
public sealed class ReplacedFilesTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Hashes are made when they are first asked for, after the first picture's last step.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Pictures_name_the_files_that_were_loaded(bool isOneFile)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets nobody replace them");
        TemporaryFolder.Copy(LoadedModel.Bundled, folder["model"]);
        var options = Additions();
        if (isOneFile)
        {
            StableDiffusionPipeline.Convert(new ModelOptions(), folder["whole.safetensors"], type: null, Cancellation);
            options = options with { Model = folder["whole.safetensors"], ConfigFolder = folder["model"] };
        }
        else
        {
            options = options with { Model = folder["model"] };
        }

        string expected;
        using (var pipeline = StableDiffusionPipeline.Load(options, ComputeDevice.Processor, Cancellation))
        {
            expected = Draw(pipeline);
        }

        Assert.All(["Model hash: ", "VAE hash: ", "Lora hashes: ", "TI hashes: "], key => Assert.Contains(key, expected, StringComparison.Ordinal));
        using var kept = StableDiffusionPipeline.Load(options, ComputeDevice.Processor, Cancellation);
        foreach (var file in Directory.GetFiles(folder.Path, "*.safetensors", SearchOption.AllDirectories))
        {
            File.WriteAllText(folder["new"], "another one");
            File.Move(folder["new"], file, overwrite: true);
        }

        Assert.Equal(expected, Draw(kept));
    }

    public void Dispose() => folder.Dispose();

    private static string Draw(StableDiffusionPipeline pipeline) => pipeline.Generate(
        new GenerationRequest { Prompt = "an apple, my-style <lora:bold:1>", Steps = 1, Width = 8, Height = 8 }, cancellationToken: Cancellation)[0].Parameters;

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
        return new ModelOptions { Vae = folder["vae.safetensors"], Loras = [bold], Embeddings = [style] };
    }
}
