using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A file with the weights of one component or of several, in any naming. Every stored tensor belongs to a component, or to what
/// is known to be without use; anything else is an error.
/// </summary>
internal sealed class CheckpointFile : IDisposable
{
    private const int NamesInMessage = 3;

    private readonly IWeightFile file;
    private readonly Dictionary<ModelPart, List<RenamedWeights.View>> views = [];
    private readonly Dictionary<string, int> ignored = [];
    private readonly List<string> unknown = [];

    private CheckpointFile(IWeightFile file) => this.file = file;

    public string Path => file.Description;

    /// <summary>The file's name without its extension.</summary>
    public string Name => System.IO.Path.GetFileNameWithoutExtension(Path);

    /// <summary>Texts that the file has beside its tensors.</summary>
    public string? FindMetadata(string key) => (file as SafetensorsFile)?.FindMetadata(key);

    public bool HasTensor(string name) => file.Tensors.ContainsKey(name);

    /// <summary>Whether the text encoder has OpenCLIP's names, and with them a last layer that is not used.</summary>
    public bool HasOpenClipNames { get; private set; }

    /// <summary>Whether the names are in the form that SD-Turbo is published in.</summary>
    public bool HasGenerativeModelsNames { get; private set; }

    /// <summary>What was stored without use: patterns of names, with the number of tensors where it is not 1.</summary>
    public IEnumerable<string> Ignored => ignored.Select(i => i.Value > 1 ? $"{i.Key} ({i.Value})" : i.Key);

    /// <summary>Opens a whole model, with the original names.</summary>
    /// <exception cref="StableDiffusionException">
    /// The file is damaged, or holds anything but a Stable Diffusion 1.x or 2.x model.
    /// </exception>
    public static CheckpointFile Open(string path) => Open(path, (contents, names) =>
    {
        foreach (var tensor in contents.file.Tensors.Values)
        {
            contents.HasGenerativeModelsNames |= LdmNames.IsGenerativeModels(tensor.Name);
            if (names.ToDiffusers(tensor.Name) is var (part, found))
            {
                contents.Add(part, found, tensor);
            }
            else if (!StatedScheduler.IsMark(tensor.Name))
            {
                contents.LeaveOut(tensor.Name, LdmNames.IgnoredAs(tensor.Name));
            }
        }

        if (contents.views.Count == 0)
        {
            contents.RequireNoOther();
            var parts = Enum.GetValues<ModelPart>()
                .Where(p => contents.file.Tensors.Keys.Any(n => names.ToDiffusers(p, n) is not null)).ToList();
            throw new StableDiffusionException(parts is [var only]
                ? $"{path}: is a {DiffusersFolder.FolderOf(only)} alone, not a whole model; "
                    + $"it can take the place of another model's (--{DiffusersFolder.FolderOf(only).Replace('_', '-')})"
                : $"{path}: holds no Stable Diffusion model; "
                    + "looked for model.diffusion_model.*, first_stage_model.* and cond_stage_model.*");
        }
    });

    /// <summary>Opens one component: of a whole model's file, or of a file of its own, with any names.</summary>
    /// <exception cref="StableDiffusionException">The file is damaged or does not hold the component.</exception>
    public static CheckpointFile Open(string path, ModelPart part) => Open(path, (contents, names) =>
    {
        foreach (var tensor in contents.file.Tensors.Values)
        {
            if (names.ToDiffusers(part, tensor.Name) is { } found)
            {
                contents.Add(part, found, tensor);
            }
            else if (names.ToDiffusers(tensor.Name) is null && !StatedScheduler.IsMark(tensor.Name))
            {
                contents.LeaveOut(tensor.Name, LdmNames.IgnoredAs(part, tensor.Name));
            }
        }

        if (contents.views.Count == 0)
        {
            contents.RequireNoOther();
            throw new StableDiffusionException($"{path}: holds no {DiffusersFolder.FolderOf(part)}");
        }
    });

    /// <summary>SHA-256 of the file that is open, 64 hex digits.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read.</exception>
    public string Sha256() => file.Sha256();

    public bool Holds(ModelPart part) => views.ContainsKey(part);

    /// <summary>A component's sizes in words.</summary>
    public string Sizes(ModelPart part) => PartSizes.Of(part, TensorsOf(part, int.MaxValue));

    /// <summary>The sizes of a published model that a component has, in words, or null.</summary>
    public string? PublishedSizes(ModelPart part)
    {
        var sizes = Sizes(part);
        if (part == ModelPart.TextEncoder && HasOpenClipNames && ModelVariant.PublishedConfig(part, sizes) is null)
        {
            sizes = PartSizes.Of(part, TensorsOf(part, LastLayer()));
        }

        return ModelVariant.PublishedConfig(part, sizes) is null ? null : sizes;
    }

    /// <summary>A component's weights under diffusers' names, as long as this file is open.</summary>
    /// <param name="part">A component that the file holds.</param>
    /// <param name="config">Its configuration: one layer more of OpenCLIP's than it has is left out.</param>
    public IWeightSource Weights(ModelPart part, JsonElement config)
    {
        var layers = part == ModelPart.TextEncoder && HasOpenClipNames
            ? new ConfigReader(config, Path).Int("num_hidden_layers", 12)
            : int.MaxValue;
        var weights = new RenamedWeights(file, ViewsOf(part, LastLayer() == layers ? layers : int.MaxValue), leaveOpen: true);
        return part == ModelPart.Vae ? RenamedWeights.WithCurrentAttentionNames(weights) : weights;
    }

    public void Dispose() => file.Dispose();

    private static CheckpointFile Open(string path, Action<CheckpointFile, LdmNames> read)
    {
        var contents = new CheckpointFile(WeightFile.Open(path));
        try
        {
            read(contents, LdmNames.OfOriginal(contents.file.Tensors.Keys));
            if (contents.unknown.Count > 0)
            {
                contents.RequireNoOther();
                var more = contents.unknown.Count > NamesInMessage ? $" (and {contents.unknown.Count - NamesInMessage} more)" : "";
                throw new StableDiffusionException(
                    $"{path}: {contents.unknown.Count} tensor(s) belong to no part of the model: "
                    + $"{string.Join(", ", contents.unknown.Order(StringComparer.Ordinal).Take(NamesInMessage))}{more}");
            }

            return contents.Holds(ModelPart.UNet) && OtherModels.Find(contents.TensorsOf(ModelPart.UNet, int.MaxValue)) is { } other
                ? throw new StableDiffusionException($"{path}: is {other}")
                : contents;
        }
        catch
        {
            contents.Dispose();
            throw;
        }
    }

    /// <summary>Says of a file that was not understood what it is, where that is known.</summary>
    private void RequireNoOther()
    {
        if (OtherModels.Find(file.Tensors.Keys) is { } other)
        {
            throw new StableDiffusionException($"{Path}: is {other}");
        }
    }

    private void Add(ModelPart part, string[] names, TensorInfo stored)
    {
        HasOpenClipNames |= part == ModelPart.TextEncoder && LdmNames.IsOpenClip(stored.Name);
        if (!views.TryGetValue(part, out var list))
        {
            views[part] = list = [];
        }

        if (names.Length > 1 && (stored.Shape.Length == 0 || stored.Shape[0] % names.Length != 0))
        {
            throw new StableDiffusionException(
                $"{Path}: tensor {stored.Name} has shape {stored.ShapeText}; its rows should be those of {names.Length} tensors");
        }

        long[] shape = names.Length > 1 ? [stored.Shape[0] / names.Length, .. stored.Shape[1..]] : stored.Shape;
        for (var i = 0; i < names.Length; i++)
        {
            var tensor = new TensorInfo(names[i], stored.Type, shape);
            list.Add(new RenamedWeights.View(tensor, stored.Name, i * tensor.Count));
        }
    }

    private void LeaveOut(string name, string? pattern)
    {
        if (pattern is null)
        {
            unknown.Add(name);
        }
        else
        {
            ignored[pattern] = ignored.GetValueOrDefault(pattern) + 1;
        }
    }

    private int LastLayer() => views.GetValueOrDefault(ModelPart.TextEncoder, []).Max(v => OpenClipNames.LayerOf(v.Tensor.Name)) ?? -1;

    private IEnumerable<RenamedWeights.View> ViewsOf(ModelPart part, int layers) =>
        views[part].Where(v => part != ModelPart.TextEncoder || !(OpenClipNames.LayerOf(v.Tensor.Name) >= layers));

    private Dictionary<string, TensorInfo> TensorsOf(ModelPart part, int layers)
    {
        var tensors = new Dictionary<string, TensorInfo>();
        foreach (var view in ViewsOf(part, layers))
        {
            tensors.TryAdd(view.Tensor.Name, view.Tensor);
        }

        return tensors;
    }
}
