namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>What became of a LoRA file.</summary>
/// <param name="Reference">The file and its scales.</param>
/// <param name="Tensors">Tensors of the model that it changes.</param>
/// <param name="Unmatched">Tensors of the file that mean nothing to this model, or nothing without others that the file lacks.</param>
/// <param name="ShortHash">The digits that pictures' metadata name the file by; made when they are asked for.</param>
internal sealed record LoraReport(LoraReference Reference, int Tensors, IReadOnlyList<string> Unmatched, Lazy<string> ShortHash)
{
    /// <summary>What its trainer called it; null where the file does not tell.</summary>
    public string? TrainersName { get; init; }

    /// <summary>What prompts may call it.</summary>
    public IEnumerable<string> Names => TrainersName is null ? [Reference.Name] : [Reference.Name, TrainersName];
}

/// <summary>The LoRA files of a model, matched and checked; their values are read when the model's weights are.</summary>
internal sealed class LoraSet : IDisposable
{
    private readonly List<LoraFile> files = [];
    private readonly List<LoraReport> reports = [];
    private readonly Dictionary<(ModelPart Part, string Tensor), List<LoraDelta>> deltas = [];

    public IReadOnlyList<LoraReport> Reports => reports;

    /// <param name="references">The files; their changes add up.</param>
    /// <param name="declared">The tensors of the text encoder and the UNet, as the graphs declare them.</param>
    /// <exception cref="StableDiffusionException">A file cannot be read, fits the model nowhere, or has a wrong shape.</exception>
    public static LoraSet Open(
        IReadOnlyList<LoraReference> references, IEnumerable<(ModelPart Part, IReadOnlyList<TensorInfo> Tensors)> declared)
    {
        var set = new LoraSet();
        try
        {
            var table = references.Count > 0 ? LoraNames.Table(declared) : [];
            foreach (var reference in references)
            {
                set.Add(reference, table);
            }

            return set;
        }
        catch
        {
            set.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The part's weights with the LoRAs' changes. Takes over <paramref name="source"/>, which is returned itself where nothing changes.
    /// </summary>
    public IWeightSource Apply(ModelPart part, IWeightSource source)
    {
        var changed = deltas.Where(d => d.Key.Part == part).ToDictionary(d => d.Key.Tensor, d => (IReadOnlyList<LoraDelta>)d.Value);
        return changed.Count > 0 ? new LoraWeights(source, changed) : source;
    }

    public void Dispose()
    {
        foreach (var file in files)
        {
            file.Dispose();
        }
    }

    private void Add(LoraReference reference, Dictionary<string, LoraTarget> table)
    {
        var file = LoraFile.Open(reference.Path);
        files.Add(file);
        var unmatched = new List<string>(file.Unknown);
        var matched = new Dictionary<(ModelPart, string), string>();
        foreach (var (module, roles) in file.Modules)
        {
            if (!table.TryGetValue(module, out var target))
            {
                unmatched.AddRange(roles.Values.Select(t => t.Name));
                continue;
            }

            var scale = target.Part == ModelPart.TextEncoder ? reference.Scale.TextEncoder : reference.Scale.UNet;
            if (target.Weight.Shape.Length >= 2 && LoraDelta.Create(file, module, target.Weight, scale) is { } product)
            {
                Note(product, target.Weight);
            }
            else
            {
                unmatched.AddRange(roles.Where(r => r.Key is not (LoraRole.Difference or LoraRole.BiasDifference)).Select(r => r.Value.Name));
            }

            foreach (var (role, changed) in new[] { (LoraRole.Difference, target.Weight), (LoraRole.BiasDifference, target.Bias) })
            {
                if (roles.TryGetValue(role, out var stored))
                {
                    if (changed is null)
                    {
                        unmatched.Add(stored.Name);
                    }
                    else
                    {
                        Note(LoraDelta.CreateDifference(file, stored, changed, scale), changed);
                    }
                }
            }

            void Note(LoraDelta delta, TensorInfo changed)
            {
                var key = (target.Part, changed.Name);
                if (!matched.TryAdd(key, module) && matched[key] != module)
                {
                    throw file.Error($"{matched[key]} and {module} both change {changed.Name}");
                }

                if (scale != 0)
                {
                    if (!deltas.TryGetValue(key, out var list))
                    {
                        deltas[key] = list = [];
                    }

                    list.Add(delta);
                }
            }
        }

        unmatched.Sort(StringComparer.Ordinal);
        if (matched.Count == 0)
        {
            const int named = 3;
            var held = unmatched.Count == 0 ? "it holds none"
                : $"its tensors are {string.Join(", ", unmatched.Take(named))}{(unmatched.Count > named ? ", …" : "")}";
            throw file.Error($"changes no tensor of this model; {held}");
        }

        reports.Add(new LoraReport(reference, matched.Count, unmatched, new(file.ShortHash)) { TrainersName = file.TrainersName });
    }
}
